//! Each command once, whatever is delivered twice.

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{InMemoryCouch, Options};
use serde_json::json;
use trove_couchdb_tests::bus::Request;
use trove_couchdb_tests::shared_server::root_alone;
use trove_couchdb_tests::stage::{Plan, Stage};
use trove_couchdb_tests::until::until_hit;

/// Mutation: duplicates-run (docs/promises.md).
#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_twice_runs_and_is_answered_once() -> Result<()> {
    let stage = Stage::up().await?;
    let _alone = root_alone(&stage.couch).await;
    let log = stage.couch.memory().map(InMemoryCouch::log);
    log.inspect(|log| log.clear());
    let message = stage.bus.encode_call(&Request::new("enable_root", json!({})));
    let reply = stage.bus.expect_reply(&message);
    for _ in 0..3 {
        stage.bus.send(&message).await?;
    }
    reply.within(Duration::from_secs(10)).await?;
    // Whatever came of the copies is over when a later command on root has been answered.
    stage.call("is_root_enabled", json!({})).await?;
    if let Some(log) = log {
        assert_eq!(log.count("PUT", "*/admins/root"), 1);
    }
    assert!(stage.bus.unexpected_replies().is_empty());
    stage.call("disable_root", json!({})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cast_is_never_answered() -> Result<()> {
    let stage = Stage::up().await?;
    stage.must_cast("rpc_ping", json!({})).await?;
    assert!(stage.bus.unexpected_replies().is_empty());
    Ok(())
}

/// A command that was interrupted by `kill -9` is delivered again and done, once.
///
/// Mutation: acknowledged-first (docs/promises.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_finishes_after_its_restart() -> Result<()> {
    use in_memory_couchdb::{Fault, Rule};

    let mut stage = Plan::default().in_memory(Options::default()).up().await?;
    let (db, al, zoe) = (stage.name("db"), stage.name("al"), stage.name("zoe"));
    stage.databases(&[&db]).await?;
    let user = stage.user(&al, &[&db]).await?;
    // The rename stops in the middle: the new document is there, the memberships are not moved.
    stage.memory()?.faults().add(Rule::new("PUT", "*/_security", Fault::Hang).times(1));
    let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe}});
    let notification = trove_couchdb_tests::bus::notification(&stage.id, "rename");
    stage.bus.cast(&Request::new("update_attributes", rename).notified(notification)).await?;
    until_hit(stage.memory()?).await?;
    assert!(stage.user_document(&zoe).await?.is_some() && stage.user_document(&al).await?.is_some());
    stage.agent.kill9()?;
    stage.memory()?.faults().clear();
    stage.agent.start_again()?;
    stage.agent.wait_ready().await?;
    // A read that waits for it.
    assert_eq!(stage.call("get_user", json!({"username": al, "hostname": "%"})).await?, json!(null));
    let renamed = trove_couchdb_tests::couch::Credentials::new(&zoe, &user.password);
    assert!(stage.client.reads(&db, Some(&renamed)).await?);
    assert_eq!(stage.security(&db).await?["members"]["names"], json!([zoe]));
    let ended =
        stage.conductor.received().iter().filter(|cast| format!("{cast:?}").contains("NotifyEnd")).count();
    assert_eq!(ended, 3, "two set-up casts and the rename, each ended once");
    Ok(())
}

/// The answer left, the acknowledgement did not: the second run gives the same password.
///
/// Mutation: root-password-of-chance (docs/promises.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_generated_root_password_survives_a_second_run() -> Result<()> {
    let mut stage = Stage::up().await?;
    let _alone = root_alone(&stage.couch).await;
    let message = stage.bus.encode_call(&Request::new("enable_root", json!({})));
    let reply = stage.bus.expect_reply(&message);
    stage.bus.send(&message).await?;
    let first = reply.within(Duration::from_secs(10)).await?;
    stage.agent.kill9()?;
    // As if it had died a moment earlier, if it did not: before it was written down that the command was carried out.
    match std::fs::remove_file(stage.agent.directory().join("state/carried_out")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    stage.agent.start_again()?;
    stage.agent.wait_ready().await?;
    // What the broker would redeliver then.
    let reply = stage.bus.expect_reply(&message);
    stage.bus.send(&message).await?;
    assert_eq!(reply.within(Duration::from_secs(10)).await?, first);
    stage.call("disable_root", json!({})).await?;
    Ok(())
}
