//! Every family of commands over the local socket, without a broker.

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use reqwest::StatusCode;
use serde_json::{Value, json};
use trove_couchdb_tests::couch::{Credentials, escape};
use trove_couchdb_tests::fixture::Fixture;
use trove_couchdb_tests::local::LocalClient;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};
use trove_couchdb_tests::rpc::{CallError, Request};
use trove_couchdb_tests::shared_server::root_alone;
use trove_couchdb_tests::until::{HUNG, until_hit};

pub(crate) fn failure(result: Result<Value, CallError>) -> trove_couchdb_protocol::Failure {
    match result {
        Err(CallError::Failure(failure)) => failure,
        other => panic!("no failure: {other:?}"),
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|item| item["_name"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_databases_and_access() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().up().await?;
    let (films, music) = (fixture.name("films"), fixture.name("music"));
    let (al, zoe) = (fixture.name("al"), fixture.name("zoe"));
    // Trove only casts these methods; a call of any method is answered.
    assert_eq!(fixture.databases(&[&films, &music]).await?, Value::Null);
    let al_login = fixture.user(&al, &[&films]).await?;
    assert!(fixture.client.reads(&films, Some(&al_login)).await?);
    assert!(!fixture.client.reads(&music, Some(&al_login)).await?);
    let listed = fixture.call("list_databases", json!({})).await?;
    assert!(names(&listed[0]).contains(&films.as_str()), "{listed}");

    fixture.call("grant_access", json!({"username": al, "hostname": "%", "databases": [music]})).await?;
    let access = fixture.call("list_access", json!({"username": al, "hostname": "%"})).await?;
    assert_eq!(names(&access), [films.as_str(), music.as_str()]);
    fixture.call("revoke_access", json!({"username": al, "hostname": "%", "database": films})).await?;
    assert!(!fixture.client.reads(&films, Some(&al_login)).await?);

    let change = json!({"users": [{"name": al, "host": "%", "password": "another"}]});
    fixture.call("change_passwords", change).await?;
    let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe}});
    fixture.call("update_attributes", rename).await?;
    let zoe_login = Credentials::new(&zoe, "another");
    assert!(fixture.client.logs_in(&zoe_login).await?);
    let user = fixture.call("get_user", json!({"username": zoe, "hostname": "%"})).await?;
    assert_eq!(Fixture::databases_of(&user), [music.as_str()]);
    let page = fixture.call("list_users", json!({"marker": zoe, "include_marker": true, "limit": 1})).await?;
    assert_eq!(names(&page[0]), [zoe.as_str()]);

    fixture.call("delete_user", json!({"user": {"_name": zoe}})).await?;
    assert!(fixture.client.refuses(&zoe_login).await?);
    for database in [&films, &music] {
        fixture.call("delete_database", json!({"database": {"_name": database}})).await?;
    }
    let gone = failure(fixture.call("delete_database", json!({"database": {"_name": films}})).await);
    assert_eq!(gone.class, "DatabaseNotFound");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_and_the_instance_itself() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().up().await?;
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    let stats = fixture.call("get_filesystem_stats", json!({"fs_path": null})).await?;
    assert!(stats["total"].as_f64().unwrap() > 0.0, "{stats}");
    assert_eq!(failure(fixture.call("restart", json!({})).await).class, "NotSupported");
    assert_eq!(failure(fixture.call("no_such_method", json!({})).await).class, "NoSuchMethod");

    let _alone = root_alone(&fixture.couch).await;
    let root = fixture.call("enable_root", json!({})).await?;
    let login = Credentials::new("root", root["_password"].as_str().unwrap());
    assert!(fixture.client.logs_in(&login).await?);
    assert_eq!(fixture.call("is_root_enabled", json!({})).await?, true);
    fixture.call("disable_root", json!({})).await?;
    assert_eq!(fixture.call("is_root_enabled", json!({})).await?, false);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_in_any_order_and_casts_have_none() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let slow = fixture.name("slow");
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{slow}"), Fault::Hang));
    let first =
        LocalClient::encode_call(&Request::new("create_database", json!({"databases": [{"_name": slow}]})));
    let mut created = fixture.local.expect_answer(&first);
    fixture.local.send(&first).await?;
    let cast = Request::new("create_database", json!({"databases": [{"_name": fixture.name("cast")}]}));
    let cast = LocalClient::encode_cast(&cast);
    fixture.local.send(&cast).await?;
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    assert!(!created.is_settled(), "the ping overtook it");
    fixture.memory()?.faults().clear();
    created.within(HUNG).await?;
    let listed = fixture.call("list_databases", json!({})).await?.to_string();
    assert!(listed.contains(&fixture.name("cast")), "{listed}");
    assert!(fixture.local.others().is_empty(), "{:?}", fixture.local.others());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_asks_for_signs_of_life_gets_them() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let slow = fixture.name("slow");
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{slow}"), Fault::Hang));
    let request = Request::new("create_database", json!({"databases": [{"_name": slow}]}));
    let call = LocalClient::encode_call(&Request { call_monitor: Some(2), ..request });
    let created = fixture.local.expect_answer(&call);
    fixture.local.send(&call).await?;
    let beat = fixture.local.other(HUNG, |reply| !reply.ending).await?;
    assert_eq!(Some(beat.msg_id), call.msg_id);
    fixture.memory()?.faults().clear();
    created.within(HUNG).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_does_not_stop_its_command() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (slow, other) = (fixture.name("slow"), fixture.connect().await?);
    let faults = fixture.memory()?.faults();
    faults.add(Rule::new("PUT", &format!("/{slow}"), Fault::Hang));
    let call = Request::new("create_database", json!({"databases": [{"_name": slow}]}));
    other.send(&LocalClient::encode_call(&call)).await?;
    until_hit(fixture.memory()?).await?;
    drop(other);
    faults.clear();
    // Waits for the first command, because it was sent later and reads what the first one writes.
    let listed = fixture.call("list_databases", json!({})).await?.to_string();
    assert!(listed.contains(&slow), "{listed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_shows_the_state_of_the_agent() -> Result<()> {
    let mut fixture = LocalFixtureBuilder::default()
        .in_memory(Options::default())
        .set("heartbeat.interval", 1)
        .up()
        .await?;
    let db = fixture.name("db");
    fixture.databases(&[&db]).await?;
    failure(fixture.call("delete_database", json!({"database": {"_name": fixture.name("none")}})).await);
    fixture.memory()?.faults().add(Rule::new("DELETE", &format!("/{db}"), Fault::Hang));
    let delete =
        LocalClient::encode_call(&Request::new("delete_database", json!({"database": {"_name": db}})));
    let deleted = fixture.local.expect_answer(&delete);
    fixture.local.send(&delete).await?;
    let list = LocalClient::encode_call(&Request::new("list_databases", json!({})));
    let listed = fixture.local.expect_answer(&list);
    fixture.local.send(&list).await?;
    until_hit(fixture.memory()?).await?;
    let status = fixture.call("get_agent_status", json!({})).await?;
    assert_eq!(status["guest_id"], "local");
    assert_eq!(status["pid"], fixture.agent.pid());
    assert_eq!(status["prepared"], true, "the harness's agents assume it");
    assert_eq!(status["broker"], json!({"state": "none", "address": null, "reason": null}));
    assert_eq!(status["couchdb"]["state"], "healthy");
    assert_eq!(status["couchdb"]["url"], fixture.couch.url());
    assert!(status["couchdb"]["version"].is_string(), "{status}");
    let commands =
        json!({"running": 1, "waiting": 1, "done": 1, "failed": 1, "duplicates": 0, "retrying": null});
    assert_eq!(status["commands"], commands);
    assert_eq!(status["heartbeat"], json!({"status": null, "sent_at": null}));
    assert_eq!(status["last_error"]["method"], "delete_database");
    assert!(status["last_error"]["message"].as_str().unwrap().contains("does not exist"), "{status}");
    assert!(status["uptime_s"].as_f64().unwrap() > 0.0 && status["version"].is_string());
    fixture.memory()?.faults().clear();
    deleted.within(HUNG).await?;
    listed.within(HUNG).await?;

    // The status is answered while CouchDB is down.
    fixture.couch.memory_mut().unwrap().stop().await;
    let mut status = json!(null);
    for _ in 0..6_000 {
        status = fixture.call("get_agent_status", json!({})).await?;
        if status["couchdb"]["state"] == "down" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status["couchdb"]["state"], "down", "{status}");
    assert!(status["couchdb"]["reason"].as_str().unwrap().contains("can't be reached"), "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_that_were_opened_are_found() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (closed, open, odd) = (fixture.name("closed"), fixture.name("open"), fixture.name("odd"));
    fixture.databases(&[&closed, &open, &odd]).await?;
    let before = fixture.call("check_databases", json!({})).await?;
    assert_eq!((&before["public"], &before["malformed"]), (&json!([]), &json!([])), "{before}");
    for (name, security) in
        [(&open, json!({"admins": {"names": ["x"]}})), (&odd, json!({"members": {"roles": ["r"]}}))]
    {
        let path = format!("/{}/_security", escape(name));
        let (status, _) = fixture.client.put(&path, Some(fixture.couch.admin()), &security).await?;
        assert_eq!(status, StatusCode::OK);
    }
    // No real server stores such a value; one that did would return it.
    let spoilt = Fault::Answer { status: 200, body: r#"{"members": {"names": "al"}}"#.to_owned() };
    fixture.memory()?.faults().add(Rule::new("GET", &format!("/{odd}/_security"), spoilt));
    let after = fixture.call("check_databases", json!({})).await?;
    assert_eq!(after["public"], json!([open]));
    assert_eq!(after["malformed"], json!([odd]));
    let (_, all) = fixture.client.get("/_all_dbs", Some(fixture.couch.admin())).await?;
    assert_eq!(after["checked"], all.as_array().unwrap().len(), "CouchDB's own too: {all}");
    Ok(())
}

/// First-time users need neither RabbitMQ nor root.
#[tokio::test(flavor = "multi_thread")]
async fn the_agent_needs_neither_a_broker_nor_root() -> Result<()> {
    // On a shared server the agent would need the credentials file of a different user's agent.
    let builder = LocalFixtureBuilder::default().alone();
    // The id of Debian's unprivileged account.
    let builder = if rustix::process::geteuid().is_root() { builder.user(65_534) } else { builder };
    let fixture: LocalFixture = builder.up().await?;
    let al = fixture.name("al");
    let login = fixture.user(&al, &[]).await?;
    assert!(fixture.client.logs_in(&login).await?);
    let status = fixture.agent.notifications();
    assert!(status.iter().any(|line| line.contains("no broker configured (local only)")), "{status:?}");
    for word in ["amqp", ":5672", "broker="] {
        assert!(!fixture.agent.logs().contains(word), "{word}");
    }
    Ok(())
}
