//! Commands that take hours: they continue without their message, survive every stop of the agent, and end
//! once.

mod killed;
mod starved;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use in_memory_couchdb::{Fault, Options, Rule};
use lapin::options::QueuePurgeOptions;
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder, user_object};
use trove_couchdb_tests::rpc::{CallError, Request, notification};
use trove_couchdb_tests::until::{HUNG, until, until_hit};

const PASSWORD: &str = "hunter2-of-the-order";

fn new_guest() -> FixtureBuilder {
    FixtureBuilder::default()
        .set("heartbeat.assume_prepared", false)
        .set("heartbeat.interval", 1)
        .in_memory(Options::default())
}

/// The order of an instance with a database, a user and root.
fn order(fixture: &Fixture) -> Request {
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    let mut user = user_object(&al, &[&db]);
    user["_password"] = PASSWORD.into();
    let args = json!({"databases": [{"_name": db}], "users": [user], "root_password": "root-pw", "ds_version": "3.5.0"});
    Request::new("prepare", args).version("1.1").notified(notification(&fixture.id, "instance_create"))
}

/// The only operation.
async fn operation(fixture: &Fixture) -> Result<Value> {
    let local = fixture.local().await?;
    let all = local.call("operation_list", json!({})).await?;
    let id = all[0]["id"].as_str().with_context(|| format!("one operation: {all}"))?;
    Ok(local.call("operation_show", json!({"operation": id})).await?)
}

async fn until_state(fixture: &Fixture, wanted: &str) -> Result<Value> {
    // An agent that has just been started has no socket yet.
    let is_so = async || Ok(operation(fixture).await.is_ok_and(|operation| operation["state"] == wanted));
    until(&format!("an operation that is {wanted}"), is_so).await?;
    operation(fixture).await
}

async fn reported(fixture: &Fixture, wanted: ServiceStatus) -> Result<()> {
    let is_wanted = |cast: &ConductorCast| matches!(cast, ConductorCast::Heartbeat { status: Some(status), .. } if *status == wanted);
    fixture.conductor.next(HUNG, is_wanted).await.map(drop)
}

/// All reports about the end of the order, in order of arrival.
fn ends(fixture: &Fixture) -> Vec<Result<(), String>> {
    let end = |cast: ConductorCast| match cast {
        ConductorCast::NotifyEnd { .. } => Some(Ok(())),
        ConductorCast::NotifyExcInfo { message, .. } => Some(Err(message)),
        _ => None,
    };
    fixture.conductor.received().into_iter().filter_map(end).collect()
}

fn files(fixture: &Fixture) -> Vec<PathBuf> {
    let entries = fs::read_dir(fixture.agent.directory().join("state/operations"));
    entries.map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn requests(fixture: &Fixture) -> Vec<PathBuf> {
    files(fixture)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|found| found == "request"))
        .collect()
}

/// Purges the guest's queue; returns the number of purged messages.
async fn lose_what_is_queued(fixture: &Fixture) -> Result<u32> {
    Ok(fixture
        .rpc
        .channel()
        .await?
        .queue_purge(fixture.rpc.topic().into(), QueuePurgeOptions::default())
        .await?)
}

/// The first CouchDB request of each step of `prepare` that sends any.
fn steps(fixture: &Fixture) -> Vec<(&'static str, Rule)> {
    let hang = |method: &str, path: &str| Rule::new(method, path, Fault::Hang).times(1);
    vec![
        ("databases", hang("PUT", &format!("/{}", fixture.name("db")))),
        ("users", hang("POST", "/_users/_bulk_docs")),
        ("root", hang("PUT", "*/_config/admins/root")),
    ]
}

/// The agent is killed in each step of the same operation; the broker has lost the message meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_every_step_of_prepare_costs_nothing() -> Result<()> {
    let mut fixture = new_guest().up().await?;
    fixture.rpc.cast(&order(&fixture)).await.context("the order")?;
    let mut kills = 0;
    for (step, hang) in steps(&fixture) {
        fixture.memory()?.faults().clear();
        fixture.memory()?.faults().add(hang);
        if kills > 0 {
            fixture.agent.start_again()?;
        } else {
            // The operation may have passed this request before the rule was added.
            let found = async || Ok(!files(&fixture).is_empty());
            until("the record of the operation", found).await?;
        }
        until_hit(fixture.memory()?).await?;
        until("the step on the disk", async || {
            let written = files(&fixture).into_iter().filter_map(|path| fs::read_to_string(path).ok());
            Ok(written
                .filter_map(|text| serde_json::from_str::<Value>(&text).ok())
                .any(|one| one["step"] == step))
        })
        .await?;
        assert_eq!(requests(&fixture).len(), 1, "{step}");
        fixture.agent.kill9()?;
        kills += 1;
        if kills == 1 {
            assert_eq!(lose_what_is_queued(&fixture).await?, 0, "its message was acknowledged");
        }
    }
    fixture.memory()?.faults().clear();
    fixture.agent.start_again()?;
    reported(&fixture, ServiceStatus::Healthy).await?;
    let over = until_state(&fixture, "succeeded").await?;
    assert_eq!((&over["resumed"], &over["kind"]), (&json!(3), &json!("prepare")), "{over}");
    until("the word of its end", async || Ok(!ends(&fixture).is_empty())).await?;
    assert_eq!(ends(&fixture), [Ok(())]);
    assert!(!over.to_string().contains(PASSWORD));
    assert!(requests(&fixture).is_empty(), "the passwords are gone");
    assert!(fixture.user_document(&fixture.name("al")).await?.is_some());
    Ok(())
}

/// Commands on the same objects would wait for hours, so they are refused at once with the reason. All other
/// commands run.
#[tokio::test(flavor = "multi_thread")]
async fn who_meets_an_operation_is_refused_at_once_with_its_stand() -> Result<()> {
    let fixture = new_guest().up().await?;
    let hang = Rule::new("PUT", &format!("/{}", fixture.name("db")), Fault::Hang);
    fixture.memory()?.faults().add(hang);
    fixture.rpc.cast(&order(&fixture)).await?;
    // Sent before the operation has begun, and waiting for it.
    let waits = fixture.cast("create_database", json!({"databases": [{"_name": fixture.name("other")}]}));
    let message = waits.await?.expect_err("an operation is in its way");
    until_hit(fixture.memory()?).await?;
    let id = operation(&fixture).await?["id"].as_str().unwrap().to_owned();
    assert!(message.contains(&id) && message.contains("prepare"), "{message}");
    let refused = fixture.call("list_users", json!({})).await.expect_err("an operation is in its way");
    let CallError::Failure(failure) = &refused else { panic!("{refused}") };
    assert_eq!(failure.class.as_str(), "Busy");
    for part in [id.as_str(), "step databases", "operation-show"] {
        assert!(failure.message.contains(part), "{part}: {}", failure.message);
    }
    fixture.call("rpc_ping", json!({})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_end_reaches_the_conductor_also_from_the_next_agent_and_once() -> Result<()> {
    let mut fixture = new_guest().up().await?;
    let hang = Rule::new("PUT", &format!("/{}", fixture.name("db")), Fault::Hang).times(1);
    fixture.memory()?.faults().add(hang);
    fixture.rpc.cast(&order(&fixture)).await?;
    until_hit(fixture.memory()?).await?;
    fixture.agent.kill9()?;
    let good = fixture.agent.options().transport_url.clone();
    fixture.agent.options().transport_url = "rabbit://guest:guest@127.0.0.1:1/".to_owned();
    fixture.agent.start_again()?;
    let over = until_state(&fixture, "succeeded").await?;
    assert_eq!(over["told"], false, "there is no broker");
    fixture.agent.kill9()?;
    fixture.agent.options().transport_url = good;
    fixture.agent.start_again()?;
    until("the word of its end", async || Ok(!ends(&fixture).is_empty())).await?;
    until("its record", async || Ok(operation(&fixture).await.is_ok_and(|one| one["told"] == true))).await?;
    fixture.agent.kill9()?;
    fixture.agent.start_again()?;
    reported(&fixture, ServiceStatus::Healthy).await?;
    fixture.call("rpc_ping", json!({})).await?;
    assert_eq!(ends(&fixture), [Ok(())]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_can_end_it_and_the_user_hears_why() -> Result<()> {
    let fixture = new_guest().up().await?;
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{}", fixture.name("db")), Fault::Hang));
    fixture.rpc.cast(&order(&fixture)).await?;
    until_hit(fixture.memory()?).await?;
    let id = operation(&fixture).await?["id"].clone();
    let refused =
        fixture.call("operation_cancel", json!({"operation": id})).await.expect_err("not over the broker");
    assert!(refused.to_string().contains("socket"), "{refused}");
    let local = fixture.local().await?;
    let answer = local.call("operation_cancel", json!({"operation": id})).await?;
    assert_eq!(answer["id"], id);
    reported(&fixture, ServiceStatus::FailedToSpawn).await?;
    let over = until_state(&fixture, "cancelled").await?;
    assert!(over["reason"].as_str().unwrap().contains("was cancelled by an operator"), "{over}");
    until("the word of its end", async || Ok(!ends(&fixture).is_empty())).await?;
    assert!(
        matches!(&ends(&fixture)[0], Err(message) if message.contains("cancelled")),
        "{:?}",
        ends(&fixture)
    );
    assert!(requests(&fixture).is_empty());
    let again = local.call("operation_cancel", json!({"operation": id})).await.expect_err("it is over");
    assert!(again.to_string().contains("is over"), "{again}");
    let unknown = json!({"operation": "00000000-0000-8000-8000-000000000000"});
    assert!(local.call("operation_show", unknown).await.is_err());
    assert!(local.call("operation_show", json!({"operation": "../prepared"})).await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_arguments_it_ends_as_failed_and_says_so() -> Result<()> {
    let mut fixture = new_guest().up().await?;
    fixture
        .memory()?
        .faults()
        .add(Rule::new("PUT", &format!("/{}", fixture.name("db")), Fault::Hang).times(1));
    fixture.rpc.cast(&order(&fixture)).await?;
    until_hit(fixture.memory()?).await?;
    fixture.agent.kill9()?;
    for request in requests(&fixture) {
        fs::remove_file(request)?;
    }
    fixture.agent.start_again()?;
    reported(&fixture, ServiceStatus::FailedToSpawn).await?;
    let over = until_state(&fixture, "failed").await?;
    assert!(over["reason"].as_str().unwrap().contains("can't go on"), "{over}");
    until("the word of its end", async || Ok(!ends(&fixture).is_empty())).await?;
    fixture.call("list_users", json!({})).await.context("nothing is in the way any more")?;
    Ok(())
}

/// After a restart, too, the values of an encrypted message are not disclosed.
#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_operation_shows_no_more_of_an_encrypted_name() -> Result<()> {
    let mut fixture = new_guest().encrypted().up().await?;
    let (db, absent) = (fixture.name("db"), fixture.name("an-absent-database"));
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), Fault::Hang).times(1));
    let args = json!({"databases": [{"_name": db}], "users": [user_object(&fixture.name("al"), &[&absent])]});
    let request = Request::new("prepare", args).version("1.1");
    fixture.rpc.cast(&request.notified(notification(&fixture.id, "instance_create"))).await?;
    until_hit(fixture.memory()?).await?;
    fixture.agent.kill9()?;
    fixture.agent.start_again()?;
    reported(&fixture, ServiceStatus::FailedToSpawn).await?;
    until("the word of its end", async || Ok(!ends(&fixture).is_empty())).await?;
    let Some(Err(message)) = ends(&fixture).pop() else { panic!("it must fail: {:?}", ends(&fixture)) };
    assert!(message.contains("\"an-…\"") && !message.contains(&absent), "{message}");
    Ok(())
}

/// The operation may take hours, so the agent does not wait for it before it exits.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_leaves_it_for_the_next_agent() -> Result<()> {
    let mut fixture = new_guest().set("rpc.shutdown_grace", 200).up().await?;
    let local = fixture.local().await?;
    let id = local.call("operation_rehearse", json!({"seconds": 3})).await?;
    until("progress", async || Ok(operation(&fixture).await?["progress"]["done"].as_u64() > Some(0))).await?;
    assert!(fixture.agent.terminate().await?.success());
    assert!(!fixture.agent.logs().contains("The grace period is over"));
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    let over = until_state(&fixture, "succeeded").await?;
    assert_eq!((&over["id"], &over["resumed"]), (&id, &json!(1)));
    let log: Vec<_> =
        over["log"].as_array().unwrap().iter().filter_map(|line| line["text"].as_str()).collect();
    assert_eq!(log.first().copied(), Some("accepted"));
    assert_eq!(log.last().copied(), Some("succeeded"));
    assert_eq!(log.iter().filter(|line| **line == "succeeded").count(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_does_not_take_is_refused_and_ends_the_creation() -> Result<()> {
    let fixture = new_guest().up().await?;
    let place = fixture.agent.directory().join("state/operations");
    fs::write(&place, "in the way")?;
    let message =
        fixture.cast("prepare", json!({"ds_version": "3.5.0"})).await?.expect_err("it can't be written down");
    assert!(message.contains("state directory"), "{message}");
    reported(&fixture, ServiceStatus::FailedToSpawn).await?;
    fs::remove_file(&place)?;
    fixture.must_cast("prepare", json!({"ds_version": "3.5.0"})).await?;
    reported(&fixture, ServiceStatus::Healthy).await
}

/// Sent twice with one id: over the broker again, and over the socket.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_is_one_operation_over_either_transport() -> Result<()> {
    let fixture = new_guest().up().await?;
    let message = fixture.rpc.encode_cast(&order(&fixture));
    for _ in 0..2 {
        fixture.rpc.send(&message).await?;
    }
    reported(&fixture, ServiceStatus::Healthy).await?;
    fixture.rpc.send(&message).await?;
    fixture.call("rpc_ping", json!({})).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let all = fixture.call("operation_list", json!({})).await?;
    assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
    assert_eq!(ends(&fixture), [Ok(())]);
    Ok(())
}
