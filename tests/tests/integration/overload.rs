//! Overload: a CouchDB that hangs, calls whose callers are gone. The flood is in `tests/flood.rs`.

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::json;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rpc::{CallError, Request, notification};
use trove_couchdb_tests::until::HUNG;

/// More commands hang than may run at once (`rpc.max_concurrent`, 16); commands that need no CouchDB are
/// answered anyway. Then one database hangs, and commands on other databases run.
///
/// Mutation: if every command needs a permit (`transport/rpc/pipeline/job.rs`, `needs_place`), the ping times
/// out.
#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_hangs_holds_up_only_who_needs_it() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (slow, quick, al, bo) =
        (fixture.name("slow"), fixture.name("quick"), fixture.name("al"), fixture.name("bo"));
    fixture.databases(&[&slow, &quick]).await?;
    fixture.user(&al, &[]).await?;
    fixture.user(&bo, &[]).await?;
    let faults = fixture.memory()?.faults();
    faults.add(Rule::new("*", "*", Fault::Hang));
    for number in 0..30 {
        let database = json!({"databases": [{"_name": fixture.name(&format!("hung{number}"))}]});
        let create = Request::new("create_database", database);
        fixture.rpc.cast(&create.notified(notification(&fixture.id, "create_database"))).await?;
    }
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    assert!(fixture.call("get_filesystem_stats", json!({"fs_path": "/"})).await?["total"].is_f64());
    let status = fixture.local().await?.call("get_agent_status", json!({})).await?;
    assert!(status["commands"].is_object(), "{status}");
    faults.clear();
    let listed = Request::new("list_databases", json!({})).timeout(HUNG);
    let listed = fixture.rpc.request(&listed).await?.to_string();
    assert!((0..30).all(|number| listed.contains(&fixture.name(&format!("hung{number}")))), "{listed}");

    faults.add(Rule::new("*", &format!("/{slow}/_security"), Fault::Hang));
    let hung = Request::new("grant_access", json!({"username": al, "hostname": "%", "databases": [slow]}));
    fixture.rpc.send(&fixture.rpc.encode_call(&hung)).await?;
    for _ in 0..5 {
        fixture.grant(&bo, &[&quick]).await?;
    }
    faults.clear();
    Ok(())
}

fn grant(fixture: &Fixture, database: &str) -> Request {
    Request::new(
        "grant_access",
        json!({"username": fixture.name("al"), "hostname": "%", "databases": [database]}),
    )
}

/// While the agent is down a call expires in the broker, and a cast does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_expired_in_the_broker_is_never_run() -> Result<()> {
    let mut fixture = FixtureBuilder::default().up().await?;
    let (expired, waited, al) = (fixture.name("expired"), fixture.name("waited"), fixture.name("al"));
    fixture.databases(&[&expired, &waited]).await?;
    fixture.user(&al, &[]).await?;
    fixture.agent.terminate().await?;
    let short = grant(&fixture, &expired).timeout(Duration::from_millis(500));
    fixture.rpc.send(&fixture.rpc.encode_call(&short)).await?;
    fixture.rpc.cast(&grant(&fixture, &waited)).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    let access = fixture.call("list_access", json!({"username": al, "hostname": "%"})).await?;
    assert_eq!(Fixture::databases_of(&json!({"_databases": access})), [waited]);
    Ok(())
}

/// A call that has waited in the broker for half of its time-out finds its database locked for almost as long
/// again. Its TTL counts from its sending, whose time is not in the message: so it is left in the broker, and
/// expires.
///
/// Mutation: old-calls-begin (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_has_waited_in_the_broker_begins_at_once_or_never() -> Result<()> {
    let mut fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (slow, other, al) = (fixture.name("slow"), fixture.name("other"), fixture.name("al"));
    fixture.databases(&[&slow, &other]).await?;
    fixture.user(&al, &[]).await?;
    fixture.agent.terminate().await?;
    let busy = Rule::new("PUT", &format!("/{slow}/_security"), Fault::DelayMs(8_500)).times(1);
    fixture.memory()?.faults().add(busy);
    fixture.rpc.cast(&grant(&fixture, &slow)).await?;
    let old = fixture.rpc.encode_call(&grant(&fixture, &other).timeout(Duration::from_secs(10)));
    let answer = fixture.rpc.expect_reply(&old);
    fixture.rpc.send(&old).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    match answer.within(Duration::from_secs(20)).await {
        Err(CallError::Timeout(_)) => {}
        other => panic!("{other:?}"),
    }
    let list = Request::new("list_access", json!({"username": al, "hostname": "%"}));
    let access = fixture.rpc.request(&list).await?;
    assert_eq!(Fixture::databases_of(&json!({"_databases": access})), [slow]);
    Ok(())
}
