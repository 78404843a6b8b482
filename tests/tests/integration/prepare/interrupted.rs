//! An interrupted creation ends with a report, and a successful one is never reported as failed.

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use lapin::options::QueuePurgeOptions;
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};
use trove_couchdb_tests::fixture::Fixture;
use trove_couchdb_tests::rpc::Request;
use trove_couchdb_tests::until::until_hit;

use super::{new_guest, order, reported, request, statuses};

/// Long enough for several heartbeats.
const QUIET: Duration = Duration::from_secs(4);

/// A guest whose agent died during `prepare`.
async fn killed_while_building() -> Result<Fixture> {
    let mut fixture = new_guest().in_memory(Options::default()).up().await?;
    let db = fixture.name("db");
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), Fault::Hang).times(1));
    fixture.rpc.cast(&request(&fixture, json!({"databases": [{"_name": db}]}))).await?;
    until_hit(fixture.memory()?).await?;
    fixture.agent.kill9()?;
    fixture.memory()?.faults().clear();
    Ok(fixture)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepare_whose_message_the_broker_has_lost_goes_on_from_the_disk() -> Result<()> {
    let mut fixture = killed_while_building().await?;
    let channel = fixture.rpc.channel().await?;
    let queued = channel.queue_purge(fixture.rpc.topic().into(), QueuePurgeOptions::default()).await?;
    assert_eq!(queued, 0, "it was acknowledged when it began");
    fixture.agent.start_again()?;
    reported(&fixture, ServiceStatus::Healthy).await?;
    assert_eq!(statuses(&fixture), [ServiceStatus::Building, ServiceStatus::Healthy]);
    Ok(())
}

/// Also if the next agents have no broker and no CouchDB.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepare_that_takes_three_agents_is_not_called_lost() -> Result<()> {
    let mut fixture = killed_while_building().await?;
    let good = fixture.agent.options().transport_url.clone();
    fixture.agent.options().transport_url = "rabbit://guest:guest@127.0.0.1:1/".to_owned();
    fixture.agent.start_again()?;
    tokio::time::sleep(QUIET).await;
    fixture.agent.kill9()?;
    fixture.agent.options().transport_url = good;
    fixture.couch.memory_mut().unwrap().stop().await;
    fixture.agent.start_again()?;
    tokio::time::sleep(QUIET * 2).await;
    fixture.couch.memory_mut().unwrap().start_again().await?;
    reported(&fixture, ServiceStatus::Healthy).await?;
    assert_eq!(statuses(&fixture), [ServiceStatus::Building, ServiceStatus::Healthy]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_restarted_right_after_prepare_does_not_end_the_creation() -> Result<()> {
    let mut fixture = new_guest().in_memory(Options::default()).up().await?;
    // CouchDB fails the agent's health probe, but `prepare` runs anyway.
    let failing = Fault::Answer { status: 500, body: r#"{"error":"internal"}"#.to_owned() };
    fixture.memory()?.faults().add(Rule::new("GET", "/_up", failing));
    fixture.must_cast("prepare", order(json!({}))).await?;
    for restart in [false, true] {
        if restart {
            fixture.agent.kill9()?;
            fixture.agent.start_again()?;
        }
        tokio::time::sleep(QUIET).await;
    }
    fixture.memory()?.faults().clear();
    reported(&fixture, ServiceStatus::Healthy).await?;
    assert_eq!(statuses(&fixture), [ServiceStatus::Building, ServiceStatus::Healthy]);
    // From now on the real status is reported, also by the next agent.
    fixture.agent.terminate().await?;
    fixture.couch.memory_mut().unwrap().stop().await;
    fixture.agent.start_again()?;
    reported(&fixture, ServiceStatus::Shutdown).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_made_from_a_guest_is_a_new_guest() -> Result<()> {
    let mut fixture = new_guest().up().await?;
    let db = fixture.name("db");
    fixture.agent.terminate().await?;
    let file = fixture.agent.directory().join("state/prepared.json");
    std::fs::write(&file, r#"{"prepared": true, "guest_id": "the-guest-of-the-image"}"#)?;
    fixture.agent.start_again()?;
    tokio::time::sleep(QUIET).await;
    assert_eq!(statuses(&fixture), [], "a guest is silent before its own prepare");
    fixture.must_cast("prepare", order(json!({"databases": [{"_name": db}]}))).await?;
    reported(&fixture, ServiceStatus::Healthy).await?;
    let (status, _) = fixture.client.get(&format!("/{db}"), Some(fixture.couch.admin())).await?;
    assert_eq!(status, 200);
    let written: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    assert_eq!(written["guest_id"], fixture.id.as_str());
    Ok(())
}

/// A `prepare` with an unsupported version, or one that is unreadable, never runs: Trove must not wait for
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepare_that_is_refused_unread_ends_the_creation() -> Result<()> {
    let fixture = new_guest().encrypted().up().await?;
    let future = Request::new("prepare", order(json!({}))).version("2.0");
    fixture.rpc.cast(&future).await?;
    reported(&fixture, ServiceStatus::FailedToSpawn).await?;

    let clear = new_guest().set("rpc.max_message_bytes", 65_536).up().await?;
    let large = order(json!({"config_contents": "x".repeat(70_000)}));
    clear.rpc.cast(&request(&clear, large)).await?;
    reported(&clear, ServiceStatus::FailedToSpawn).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_prepare_does_not_end_the_one_that_is_under_way() -> Result<()> {
    let fixture = new_guest().in_memory(Options::default()).up().await?;
    let db = fixture.name("db");
    let slow = Fault::DelayMs(4_000);
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), slow).times(1));
    fixture.rpc.cast(&request(&fixture, json!({"databases": [{"_name": db}]}))).await?;
    reported(&fixture, ServiceStatus::Building).await?;
    fixture.rpc.cast(&Request::new("prepare", order(json!({}))).version("2.0")).await?;
    reported(&fixture, ServiceStatus::Healthy).await?;
    assert_eq!(statuses(&fixture), [ServiceStatus::Building, ServiceStatus::Healthy]);
    Ok(())
}

/// If a key is set, only senders with the key can end a creation.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_prepare_ends_no_creation() -> Result<()> {
    let fixture = new_guest().encrypted().up().await?;
    let clear = json!({"method": "prepare", "args": {"users": 5}, "version": "1.1", "_unique_id": "forged"});
    let body = json!({"oslo.version": "2.0", "oslo.message": clear.to_string()});
    fixture.rpc.publish_raw(body.to_string().as_bytes()).await?;
    tokio::time::sleep(QUIET).await;
    let told_status = |cast: &ConductorCast| matches!(cast, ConductorCast::Heartbeat { .. });
    assert!(!fixture.conductor.received().iter().any(told_status));
    fixture.must_cast("prepare", order(json!({}))).await?;
    reported(&fixture, ServiceStatus::Healthy).await
}
