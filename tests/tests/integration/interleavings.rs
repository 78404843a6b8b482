//! Forces orders of events that a campaign rarely produces: found by `make chaos`, or by reading the code.

use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::{Fault, Options, Rule};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::{Value, json};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder, user_object};
use trove_couchdb_tests::rabbitmq::RabbitNode;
use trove_couchdb_tests::rpc::{Request, RpcClient, notification};
use trove_couchdb_tests::until::{HUNG, until, until_hit};

/// A user is revoked from a database while the database is deleted and created again. The old members, which
/// the agent has read and is about to write back, must not become members of the new database.
///
/// Fails if `delete_database` does not wait for the lock of the database's `_security`.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_has_no_members_of_an_old_one_of_the_same_name() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (db, al, bo) = (fixture.name("db"), fixture.name("al"), fixture.name("bo"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[&db]).await?;
    fixture.user(&bo, &[&db]).await?;
    let faults = fixture.memory()?.faults();
    faults.add(Rule::new("PUT", &format!("/{db}/_security"), Fault::Hang).times(1));
    fixture.rpc.cast(&Request::new("delete_user", json!({"user": {"_name": al}}))).await?;
    until_hit(fixture.memory()?).await?;
    fixture.rpc.cast(&Request::new("delete_database", json!({"database": {"_name": db}}))).await?;
    fixture.rpc.cast(&Request::new("create_database", json!({"databases": [{"_name": db}]}))).await?;
    // A waiting command is not visible, so it gets enough time to finish if it did not wait.
    tokio::time::sleep(Duration::from_millis(700)).await;
    faults.clear();
    fixture.call("list_users", json!({})).await?;
    let names = fixture.security(&db).await?["members"]["names"].clone();
    assert!(names.as_array().is_none_or(Vec::is_empty), "{names}");
    Ok(())
}

/// The broker dies after a rename but before its acknowledgement; the next command creates a new user with
/// the old name; then the agent dies too, and both restart. The renamed user must not get the new user's
/// access.
///
/// Fails if `rename_user` confuses the new user with the one that it was to rename.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_runs_again_leaves_a_new_user_of_the_old_name_alone() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let builder = FixtureBuilder::default().in_memory(Options::default()).oslo("amqp_durable_queues = true");
    let mut fixture = builder.up_on(&broker).await?;
    let (db, al, zoe) = (fixture.name("db"), fixture.name("al"), fixture.name("zoe"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[]).await?;
    rename_up_to_its_last_step(&fixture, &al, &zoe).await?;
    let users = json!({ "users": [user_object(&al, &[&db])] });
    let create = Request::new("create_user", users);
    fixture.rpc.cast(&create.notified(notification(&fixture.id, "create_user"))).await?;
    let channel = fixture.rpc.channel().await?;
    until("the delivery", async || {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(fixture.rpc.topic().into(), passive, FieldTable::default()).await?;
        Ok(queue.message_count() == 0)
    })
    .await?;
    lose_the_broker(&mut broker, &fixture).await?;
    let members = async |fixture: &Fixture| -> Result<Value> {
        Ok(fixture.security(&db).await?["members"]["names"].clone())
    };
    until("the new user", async || Ok(members(&fixture).await?.to_string().contains(&al))).await?;
    both_start_again(&mut broker, &mut fixture).await?;
    // A read that waits for both; it may be refused because it waited too long.
    let rpc = RpcClient::connect(&broker.amqp_uri(), fixture.exchange(), &fixture.id, None).await?;
    let read = Request::new("list_users", json!({})).timeout(HUNG);
    until("the read", async || Ok(rpc.request(&read.clone()).await.is_ok())).await?;
    assert_eq!(members(&fixture).await?, json!([al]));
    assert!(fixture.user_document(&al).await?.is_some() && fixture.user_document(&zoe).await?.is_some());
    Ok(())
}

/// The same, but a different tool created both users with the old name, without the agent's mark. The agent
/// dies before the outcome of the rename is on the disk, so the rename runs again.
///
/// Fails if `was_renamed_from` treats two users without a mark as the same user.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_runs_again_leaves_a_new_user_of_another_tool_alone() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let builder = FixtureBuilder::default().in_memory(Options::default()).oslo("amqp_durable_queues = true");
    let mut fixture = builder.up_on(&broker).await?;
    let (db, al, zoe) = (fixture.name("db"), fixture.name("al"), fixture.name("zoe"));
    fixture.databases(&[&db]).await?;
    made_elsewhere(&fixture, &al).await?;
    // A directory in place of the file: no outcome can be written.
    let outcomes = fixture.agent.directory().join("state/outcomes");
    fixture.agent.terminate().await?;
    std::fs::remove_file(&outcomes)?;
    std::fs::create_dir(&outcomes)?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    rename_up_to_its_last_step(&fixture, &al, &zoe).await?;
    lose_the_broker(&mut broker, &fixture).await?;
    let runs = |fixture: &Fixture| fixture.agent.logs().matches("Done. method=\"update_attributes\"").count();
    until("the end of the rename", async || Ok(runs(&fixture) == 1)).await?;
    made_elsewhere(&fixture, &al).await?;
    fixture.set_security(&db, &json!({"members": {"names": [al], "roles": []}})).await?;
    fixture.agent.kill9()?;
    std::fs::remove_dir(&outcomes)?;
    broker.start_again().await?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    until("the run that comes again", async || Ok(runs(&fixture) == 2)).await?;
    assert_eq!(fixture.security(&db).await?["members"]["names"], json!([al]));
    assert!(fixture.user_document(&al).await?.is_some() && fixture.user_document(&zoe).await?.is_some());
    Ok(())
}

/// The rename of a user that a different tool created is interrupted before its last step, and the user's
/// password changes meanwhile: the second run still recognises the user and finishes.
///
/// Fails if the old user is identified by something that the user can change: its hash or its revision.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_was_cut_short_ends_although_the_old_user_changed() -> Result<()> {
    let builder = FixtureBuilder::default().in_memory(Options::default()).oslo("amqp_durable_queues = true");
    let mut fixture = builder.up().await?;
    let (al, zoe) = (fixture.name("al"), fixture.name("zoe"));
    made_elsewhere(&fixture, &al).await?;
    rename_up_to_its_last_step(&fixture, &al, &zoe).await?;
    fixture.agent.kill9()?;
    fixture.memory()?.faults().clear();
    let mut document = fixture.user_document(&al).await?.context("the old user")?;
    document["password"] = json!("another");
    let path = format!("/_users/org.couchdb.user:{al}");
    let (status, body) = fixture.client.put(&path, Some(fixture.couch.admin()), &document).await?;
    anyhow::ensure!(status.is_success(), "{status} {body}");
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    until("the end of the rename", async || Ok(fixture.user_document(&al).await?.is_none())).await?;
    assert!(fixture.user_document(&zoe).await?.is_some());
    Ok(())
}

/// A rename whose last request, the deletion of the old user, hangs. Its result must be reported, which the
/// broker's death delays.
async fn rename_up_to_its_last_step(fixture: &Fixture, old: &str, new: &str) -> Result<()> {
    fixture.memory()?.faults().add(Rule::new("DELETE", "/_users/*", Fault::Hang).times(1));
    let rename = json!({"username": old, "hostname": "%", "user_attrs": {"name": new}});
    let rename = Request::new("update_attributes", rename);
    fixture.rpc.cast(&rename.notified(notification(&fixture.id, "update_attributes"))).await?;
    until_hit(fixture.memory()?).await
}

/// The broker dies, and the hanging request continues.
async fn lose_the_broker(broker: &mut RabbitNode, fixture: &Fixture) -> Result<()> {
    broker.kill9()?;
    fixture.agent.wait_log("No connection to the broker", HUNG).await?;
    fixture.memory()?.faults().clear();
    Ok(())
}

/// The agent dies too, and both restart.
async fn both_start_again(broker: &mut RabbitNode, fixture: &mut Fixture) -> Result<()> {
    fixture.agent.kill9()?;
    broker.start_again().await?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await
}

/// Creates a user without the agent, as a different tool does.
async fn made_elsewhere(fixture: &Fixture, name: &str) -> Result<()> {
    let id = format!("org.couchdb.user:{name}");
    let document = json!({"_id": id, "name": name, "type": "user", "roles": [], "password": "elsewhere"});
    let (status, body) =
        fixture.client.put(&format!("/_users/{id}"), Some(fixture.couch.admin()), &document).await?;
    anyhow::ensure!(status.is_success(), "{status} {body}");
    Ok(())
}
