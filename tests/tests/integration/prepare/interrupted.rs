//! A creation that is cut short ends with a word, and one that went well is never called failed.

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use lapin::options::QueuePurgeOptions;
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};
use trove_couchdb_tests::bus::Request;
use trove_couchdb_tests::stage::Stage;
use trove_couchdb_tests::until::until_hit;

use super::{new_guest, order, request, statuses, told};

/// Long enough for several heartbeats.
const QUIET: Duration = Duration::from_secs(4);

/// A guest whose agent died in the middle of `prepare`.
async fn killed_while_building() -> Result<Stage> {
    let mut stage = new_guest().in_memory(Options::default()).up().await?;
    let db = stage.name("db");
    stage.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), Fault::Hang).times(1));
    stage.bus.cast(&request(&stage, json!({"databases": [{"_name": db}]}))).await?;
    until_hit(stage.memory()?).await?;
    stage.agent.kill9()?;
    stage.memory()?.faults().clear();
    Ok(stage)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepare_whose_message_the_broker_has_lost_goes_on_from_the_disk() -> Result<()> {
    let mut stage = killed_while_building().await?;
    let channel = stage.bus.channel().await?;
    let queued = channel.queue_purge(stage.bus.topic().into(), QueuePurgeOptions::default()).await?;
    assert_eq!(queued, 0, "it was acknowledged when it began");
    stage.agent.start_again()?;
    told(&stage, ServiceStatus::Healthy).await?;
    assert_eq!(statuses(&stage), [ServiceStatus::Building, ServiceStatus::Healthy]);
    Ok(())
}

/// Over agents without a broker and without a CouchDB.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepare_that_takes_three_agents_is_not_called_lost() -> Result<()> {
    let mut stage = killed_while_building().await?;
    let good = stage.agent.options().transport_url.clone();
    stage.agent.options().transport_url = "rabbit://guest:guest@127.0.0.1:1/".to_owned();
    stage.agent.start_again()?;
    tokio::time::sleep(QUIET).await;
    stage.agent.kill9()?;
    stage.agent.options().transport_url = good;
    stage.couch.memory_mut().unwrap().stop().await;
    stage.agent.start_again()?;
    tokio::time::sleep(QUIET * 2).await;
    stage.couch.memory_mut().unwrap().start_again().await?;
    told(&stage, ServiceStatus::Healthy).await?;
    assert_eq!(statuses(&stage), [ServiceStatus::Building, ServiceStatus::Healthy]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_restarted_right_after_prepare_does_not_end_the_creation() -> Result<()> {
    let mut stage = new_guest().in_memory(Options::default()).up().await?;
    // The agent sees a CouchDB that fails, and prepares it all the same.
    let failing = Fault::Answer { status: 500, body: r#"{"error":"internal"}"#.to_owned() };
    stage.memory()?.faults().add(Rule::new("GET", "/_up", failing));
    stage.must_cast("prepare", order(json!({}))).await?;
    for restart in [false, true] {
        if restart {
            stage.agent.kill9()?;
            stage.agent.start_again()?;
        }
        tokio::time::sleep(QUIET).await;
    }
    stage.memory()?.faults().clear();
    told(&stage, ServiceStatus::Healthy).await?;
    assert_eq!(statuses(&stage), [ServiceStatus::Building, ServiceStatus::Healthy]);
    // From now on the truth is told, to the next agent too.
    stage.agent.terminate().await?;
    stage.couch.memory_mut().unwrap().stop().await;
    stage.agent.start_again()?;
    told(&stage, ServiceStatus::Shutdown).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_made_from_a_guest_is_a_new_guest() -> Result<()> {
    let mut stage = new_guest().up().await?;
    let db = stage.name("db");
    stage.agent.terminate().await?;
    let file = stage.agent.directory().join("state/prepared.json");
    std::fs::write(&file, r#"{"prepared": true, "guest_id": "the-guest-of-the-image"}"#)?;
    stage.agent.start_again()?;
    tokio::time::sleep(QUIET).await;
    assert_eq!(statuses(&stage), [], "a guest is silent before its own prepare");
    stage.must_cast("prepare", order(json!({"databases": [{"_name": db}]}))).await?;
    told(&stage, ServiceStatus::Healthy).await?;
    let (status, _) = stage.client.get(&format!("/{db}"), Some(stage.couch.admin())).await?;
    assert_eq!(status, 200);
    let written: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    assert_eq!(written["guest_id"], stage.id.as_str());
    Ok(())
}

/// A `prepare` whose version nobody serves, or that can't be read, never runs: Trove must not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepare_that_is_refused_unread_ends_the_creation() -> Result<()> {
    let stage = new_guest().encrypted().up().await?;
    let future = Request::new("prepare", order(json!({}))).version("2.0");
    stage.bus.cast(&future).await?;
    told(&stage, ServiceStatus::FailedToSpawn).await?;

    let clear = new_guest().set("rpc.max_message_bytes", 65_536).up().await?;
    let large = order(json!({"config_contents": "x".repeat(70_000)}));
    clear.bus.cast(&request(&clear, large)).await?;
    told(&clear, ServiceStatus::FailedToSpawn).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_prepare_does_not_end_the_one_that_is_under_way() -> Result<()> {
    let stage = new_guest().in_memory(Options::default()).up().await?;
    let db = stage.name("db");
    let slow = Fault::DelayMs(4_000);
    stage.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), slow).times(1));
    stage.bus.cast(&request(&stage, json!({"databases": [{"_name": db}]}))).await?;
    told(&stage, ServiceStatus::Building).await?;
    stage.bus.cast(&Request::new("prepare", order(json!({}))).version("2.0")).await?;
    told(&stage, ServiceStatus::Healthy).await?;
    assert_eq!(statuses(&stage), [ServiceStatus::Building, ServiceStatus::Healthy]);
    Ok(())
}

/// Where a key is set, only who has it can end a creation.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_prepare_ends_no_creation() -> Result<()> {
    let stage = new_guest().encrypted().up().await?;
    let clear = json!({"method": "prepare", "args": {"users": 5}, "version": "1.1", "_unique_id": "forged"});
    let body = json!({"oslo.version": "2.0", "oslo.message": clear.to_string()});
    stage.bus.publish_raw(body.to_string().as_bytes()).await?;
    tokio::time::sleep(QUIET).await;
    let told_status = |cast: &ConductorCast| matches!(cast, ConductorCast::Heartbeat { .. });
    assert!(!stage.conductor.received().iter().any(told_status));
    stage.must_cast("prepare", order(json!({}))).await?;
    told(&stage, ServiceStatus::Healthy).await
}
