//! Orders of events that a campaign rarely meets, forced: what `make chaos` found, and what reading it brought up.

use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::{Fault, Options, Rule};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::{Value, json};
use trove_couchdb_tests::bus::{Bus, Request, notification};
use trove_couchdb_tests::rabbitmq::RabbitNode;
use trove_couchdb_tests::stage::{Plan, Stage, user_object};
use trove_couchdb_tests::until::{HUNG, until, until_hit};

/// A user is taken out of a database that is deleted and made anew at the same time: the old members, which the agent
/// has read and is about to write back, must not become members of the new one.
///
/// Fails when `delete_database` does not wait for the lock of the database's `_security`.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_has_no_members_of_an_old_one_of_the_same_name() -> Result<()> {
    let stage = Plan::default().in_memory(Options::default()).up().await?;
    let (db, al, bo) = (stage.name("db"), stage.name("al"), stage.name("bo"));
    stage.databases(&[&db]).await?;
    stage.user(&al, &[&db]).await?;
    stage.user(&bo, &[&db]).await?;
    let faults = stage.memory()?.faults();
    faults.add(Rule::new("PUT", &format!("/{db}/_security"), Fault::Hang).times(1));
    stage.bus.cast(&Request::new("delete_user", json!({"user": {"_name": al}}))).await?;
    until_hit(stage.memory()?).await?;
    stage.bus.cast(&Request::new("delete_database", json!({"database": {"_name": db}}))).await?;
    stage.bus.cast(&Request::new("create_database", json!({"databases": [{"_name": db}]}))).await?;
    // Nothing tells that a command waits, so it gets the time in which it would be done if it did not.
    tokio::time::sleep(Duration::from_millis(700)).await;
    faults.clear();
    stage.call("list_users", json!({})).await?;
    let names = stage.security(&db).await?["members"]["names"].clone();
    assert!(names.as_array().is_none_or(Vec::is_empty), "{names}");
    Ok(())
}

/// The broker dies when a rename is done and can't be acknowledged; the next command makes a new user of the old name;
/// then the agent dies too, and both come again. The renamed user must not get what the new one has.
///
/// Fails when `rename_user` takes the new user for the one that it was to rename.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_runs_again_leaves_a_new_user_of_the_old_name_alone() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let plan = Plan::default().in_memory(Options::default()).oslo("amqp_durable_queues = true");
    let mut stage = plan.up_on(&broker).await?;
    let (db, al, zoe) = (stage.name("db"), stage.name("al"), stage.name("zoe"));
    stage.databases(&[&db]).await?;
    stage.user(&al, &[]).await?;
    rename_up_to_its_last_step(&stage, &al, &zoe).await?;
    let users = json!({ "users": [user_object(&al, &[&db])] });
    let create = Request::new("create_user", users);
    stage.bus.cast(&create.notified(notification(&stage.id, "create_user"))).await?;
    let channel = stage.bus.channel().await?;
    until("the delivery", async || {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(stage.bus.topic().into(), passive, FieldTable::default()).await?;
        Ok(queue.message_count() == 0)
    })
    .await?;
    lose_the_broker(&mut broker, &stage).await?;
    let members =
        async |stage: &Stage| -> Result<Value> { Ok(stage.security(&db).await?["members"]["names"].clone()) };
    until("the new user", async || Ok(members(&stage).await?.to_string().contains(&al))).await?;
    both_start_again(&mut broker, &mut stage).await?;
    // A read that waits for both; it may be told that it had to wait too long.
    let bus = Bus::connect(&broker.amqp_uri(), stage.exchange(), &stage.id, None).await?;
    let read = Request::new("list_users", json!({})).timeout(HUNG);
    until("the read", async || Ok(bus.request(&read.clone()).await.is_ok())).await?;
    assert_eq!(members(&stage).await?, json!([al]));
    assert!(stage.user_document(&al).await?.is_some() && stage.user_document(&zoe).await?.is_some());
    Ok(())
}

/// The same where both users of the old name were made by another tool, and bear no mark of the agent's; the agent dies
/// before the outcome of the rename is on the disk, so the rename is run again.
///
/// Fails when `was_renamed_from` takes two users without a mark for the same one.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_runs_again_leaves_a_new_user_of_another_tool_alone() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let plan = Plan::default().in_memory(Options::default()).oslo("amqp_durable_queues = true");
    let mut stage = plan.up_on(&broker).await?;
    let (db, al, zoe) = (stage.name("db"), stage.name("al"), stage.name("zoe"));
    stage.databases(&[&db]).await?;
    made_elsewhere(&stage, &al).await?;
    // A directory in the place of the file: no outcome can be written.
    let outcomes = stage.agent.directory().join("state/outcomes");
    stage.agent.terminate().await?;
    std::fs::remove_file(&outcomes)?;
    std::fs::create_dir(&outcomes)?;
    stage.agent.start_again()?;
    stage.agent.wait_ready().await?;
    rename_up_to_its_last_step(&stage, &al, &zoe).await?;
    lose_the_broker(&mut broker, &stage).await?;
    let runs = |stage: &Stage| stage.agent.logs().matches("Done. method=\"update_attributes\"").count();
    until("the end of the rename", async || Ok(runs(&stage) == 1)).await?;
    made_elsewhere(&stage, &al).await?;
    stage.set_security(&db, &json!({"members": {"names": [al], "roles": []}})).await?;
    stage.agent.kill9()?;
    std::fs::remove_dir(&outcomes)?;
    broker.start_again().await?;
    stage.agent.start_again()?;
    stage.agent.wait_ready().await?;
    until("the run that comes again", async || Ok(runs(&stage) == 2)).await?;
    assert_eq!(stage.security(&db).await?["members"]["names"], json!([al]));
    assert!(stage.user_document(&al).await?.is_some() && stage.user_document(&zoe).await?.is_some());
    Ok(())
}

/// A rename of another tool's user dies before its last step, and the user logs in with another password meanwhile: the
/// run that comes again knows the user all the same, and ends what it began.
///
/// Fails when a source is known by what a user can change: its hash, or its revision.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_was_cut_short_ends_although_the_old_user_changed() -> Result<()> {
    let plan = Plan::default().in_memory(Options::default()).oslo("amqp_durable_queues = true");
    let mut stage = plan.up().await?;
    let (al, zoe) = (stage.name("al"), stage.name("zoe"));
    made_elsewhere(&stage, &al).await?;
    rename_up_to_its_last_step(&stage, &al, &zoe).await?;
    stage.agent.kill9()?;
    stage.memory()?.faults().clear();
    let mut document = stage.user_document(&al).await?.context("the old user")?;
    document["password"] = json!("another");
    let path = format!("/_users/org.couchdb.user:{al}");
    let (status, body) = stage.client.put(&path, Some(stage.couch.admin()), &document).await?;
    anyhow::ensure!(status.is_success(), "{status} {body}");
    stage.agent.start_again()?;
    stage.agent.wait_ready().await?;
    until("the end of the rename", async || Ok(stage.user_document(&al).await?.is_none())).await?;
    assert!(stage.user_document(&zoe).await?.is_some());
    Ok(())
}

/// A rename whose last request, the deletion of the old user, hangs; its end is to be reported, which the broker's death
/// holds up.
async fn rename_up_to_its_last_step(stage: &Stage, old: &str, new: &str) -> Result<()> {
    stage.memory()?.faults().add(Rule::new("DELETE", "/_users/*", Fault::Hang).times(1));
    let rename = json!({"username": old, "hostname": "%", "user_attrs": {"name": new}});
    let rename = Request::new("update_attributes", rename);
    stage.bus.cast(&rename.notified(notification(&stage.id, "update_attributes"))).await?;
    until_hit(stage.memory()?).await
}

/// The broker dies, and what hung goes on.
async fn lose_the_broker(broker: &mut RabbitNode, stage: &Stage) -> Result<()> {
    broker.kill9()?;
    stage.agent.wait_log("No connection to the broker", HUNG).await?;
    stage.memory()?.faults().clear();
    Ok(())
}

/// The agent dies too, and both come again.
async fn both_start_again(broker: &mut RabbitNode, stage: &mut Stage) -> Result<()> {
    stage.agent.kill9()?;
    broker.start_again().await?;
    stage.agent.start_again()?;
    stage.agent.wait_ready().await
}

/// A user that another tool than the agent makes.
async fn made_elsewhere(stage: &Stage, name: &str) -> Result<()> {
    let id = format!("org.couchdb.user:{name}");
    let document = json!({"_id": id, "name": name, "type": "user", "roles": [], "password": "elsewhere"});
    let (status, body) =
        stage.client.put(&format!("/_users/{id}"), Some(stage.couch.admin()), &document).await?;
    anyhow::ensure!(status.is_success(), "{status} {body}");
    Ok(())
}
