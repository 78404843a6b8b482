//! Each command runs once, even if it is delivered twice.

use anyhow::Result;
use in_memory_couchdb::{InMemoryCouch, Options};
use serde_json::json;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rpc::Request;
use trove_couchdb_tests::shared_server::root_alone;
use trove_couchdb_tests::until::{HUNG, until_hit};

/// Mutation: duplicates-run (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_twice_runs_and_is_answered_once() -> Result<()> {
    let fixture = Fixture::up().await?;
    let _alone = root_alone(&fixture.couch).await;
    let log = fixture.couch.memory().map(InMemoryCouch::log);
    log.inspect(|log| log.clear());
    let message = fixture.rpc.encode_call(&Request::new("enable_root", json!({})));
    let reply = fixture.rpc.expect_reply(&message);
    for _ in 0..3 {
        fixture.rpc.send(&message).await?;
    }
    reply.within(HUNG).await?;
    // Once a later command on root is answered, the copies are finished.
    fixture.call("is_root_enabled", json!({})).await?;
    if let Some(log) = log {
        assert_eq!(log.count("PUT", "*/admins/root"), 1);
    }
    assert!(fixture.rpc.unexpected_replies().is_empty());
    fixture.call("disable_root", json!({})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cast_is_never_answered() -> Result<()> {
    let fixture = Fixture::up().await?;
    fixture.must_cast("rpc_ping", json!({})).await?;
    assert!(fixture.rpc.unexpected_replies().is_empty());
    Ok(())
}

/// A command that `kill -9` interrupted is redelivered and runs once.
///
/// Mutation: acknowledged-first (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_finishes_after_its_restart() -> Result<()> {
    use in_memory_couchdb::{Fault, Rule};

    let mut fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (db, al, zoe) = (fixture.name("db"), fixture.name("al"), fixture.name("zoe"));
    fixture.databases(&[&db]).await?;
    let user = fixture.user(&al, &[&db]).await?;
    // The rename stops halfway: the new document exists, the memberships are not moved.
    fixture.memory()?.faults().add(Rule::new("PUT", "*/_security", Fault::Hang).times(1));
    let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe}});
    let notification = trove_couchdb_tests::rpc::notification(&fixture.id, "rename");
    fixture.rpc.cast(&Request::new("update_attributes", rename).notified(notification)).await?;
    until_hit(fixture.memory()?).await?;
    assert!(fixture.user_document(&zoe).await?.is_some() && fixture.user_document(&al).await?.is_some());
    fixture.agent.kill9()?;
    fixture.memory()?.faults().clear();
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    // A read that waits for the rename.
    assert_eq!(fixture.call("get_user", json!({"username": al, "hostname": "%"})).await?, json!(null));
    let renamed = trove_couchdb_tests::couch::Credentials::new(&zoe, &user.password);
    assert!(fixture.client.reads(&db, Some(&renamed)).await?);
    assert_eq!(fixture.security(&db).await?["members"]["names"], json!([zoe]));
    let ended =
        fixture.conductor.received().iter().filter(|cast| format!("{cast:?}").contains("NotifyEnd")).count();
    assert_eq!(ended, 3, "two set-up casts and the rename, each ended once");
    Ok(())
}
