//! Outages of CouchDB.

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, InMemoryCouch, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::ConductorCast;
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rpc::{Request, notification};
use trove_couchdb_tests::until::HUNG;

async fn fixture() -> Result<Fixture> {
    FixtureBuilder::default().in_memory(Options::default()).set("heartbeat.interval", 1).up().await
}

/// Mutation: no-retries-while-couchdb-is-down (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_cast_waits_for_couchdb_and_is_done_once() -> Result<()> {
    let mut fixture = fixture().await?;
    let db = fixture.name("db");
    restartable(&mut fixture)?.stop().await;
    let end = notification(&fixture.id, "create_database");
    let create = Request::new("create_database", json!({"databases": [{"_name": db}]})).notified(end);
    fixture.rpc.cast(&create).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    restartable(&mut fixture)?.start_again().await?;
    fixture.conductor.next(HUNG, |cast| matches!(cast, ConductorCast::NotifyEnd { .. })).await?;
    assert!(!fixture.anonymous_writes(&db).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_retried_over_a_restart_and_else_fails_with_the_reason() -> Result<()> {
    let mut fixture = fixture().await?;
    restartable(&mut fixture)?.stop().await;
    let impatient = Request::new("list_databases", json!({})).timeout(Duration::from_secs(4));
    let error = fixture.rpc.request(&impatient).await.unwrap_err().to_string();
    assert!(error.contains("CouchDB") && error.contains("can't be reached"), "{error}");
    let call = fixture.rpc.encode_call(&Request::new("list_databases", json!({})));
    let reply = fixture.rpc.expect_reply(&call);
    fixture.rpc.send(&call).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    restartable(&mut fixture)?.start_again().await?;
    reply.within(HUNG).await?;
    Ok(())
}

/// CouchDB is slow and the agent times out; the agent's own first write then takes effect between its second
/// read and its second write. That conflict is not a different client's user.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_comes_late_is_known_as_its_own() -> Result<()> {
    let fixture = fixture().await?;
    let (db, al, zoe) = (fixture.name("db"), fixture.name("al"), fixture.name("zoe"));
    fixture.databases(&[&db]).await?;
    let faults = fixture.memory()?.faults();
    let late = Rule::new("POST", "/_users/_bulk_docs", Fault::CutLate).times(1);
    faults.add(late.clone());
    let user = fixture.user(&al, &[&db]).await?;
    assert_eq!(faults.hits(), 1);
    assert!(fixture.client.reads(&db, Some(&user)).await?);

    faults.add(late);
    fixture
        .must_cast("update_attributes", json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe}}))
        .await?;
    assert_eq!(faults.hits(), 2);
    assert!(fixture.client.reads(&db, Some(&Credentials::new(&zoe, &user.password))).await?);
    assert_eq!(fixture.call("get_user", json!({"username": al, "hostname": "%"})).await?, Value::Null);
    Ok(())
}

/// Mutation: unasked-is-there (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn faults_in_the_middle_of_a_command_are_survived() -> Result<()> {
    let fixture = fixture().await?;
    let faults = fixture.memory()?.faults();
    let unavailable = || Fault::Answer { status: 503, body: r#"{"error":"unavailable"}"#.to_owned() };
    for (number, fault) in [
        Rule::new("*", "*", unavailable()),
        Rule::new("*", "*", Fault::Cut),
        Rule::new("*", "*", Fault::CutMidBody),
        Rule::new("*", "*", Fault::Cut).after_effect(),
        Rule::new("*", "*", Fault::CutMidBody).after_effect(),
    ]
    .into_iter()
    .enumerate()
    {
        let (db, al, zoe) = (
            fixture.name(&format!("db{number}")),
            fixture.name(&format!("al{number}")),
            fixture.name(&format!("zoe{number}")),
        );
        faults.add(fault.times(2));
        fixture.databases(&[&db]).await?;
        fixture.user(&al, &[&db]).await?;
        for (method, path) in [("POST", "/_users/*"), ("PUT", "*/_security"), ("DELETE", "/_users/*")] {
            let mut rule = Rule::new(method, path, Fault::Cut).times(1);
            if number % 2 == 1 {
                rule = rule.after_effect();
            }
            faults.add(rule);
        }
        let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe}});
        fixture.must_cast("update_attributes", rename).await?;
        faults.clear();
        assert_eq!(fixture.security(&db).await?["members"]["names"], json!([zoe]));
        assert!(fixture.user_document(&al).await?.is_none());
        fixture.must_cast("delete_user", json!({"user": {"_name": zoe}})).await?;
        faults.add(Rule::new("DELETE", &format!("/{db}"), Fault::Cut).times(1).after_effect());
        fixture.must_cast("delete_database", json!({"database": {"_name": db}})).await?;
    }
    Ok(())
}

fn restartable(fixture: &mut Fixture) -> Result<&mut InMemoryCouch> {
    fixture.couch.memory_mut().ok_or_else(|| anyhow::anyhow!("not in memory"))
}
