//! A slow CouchDB is not a crashed one.

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::json;
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::until::{until, until_hit};

/// Longer than the time-out of a probe.
const SLOW: Duration = Duration::from_secs(8);

fn reported(fixture: &Fixture) -> Vec<ServiceStatus> {
    let status = |cast: ConductorCast| match cast {
        ConductorCast::Heartbeat { status, .. } => status,
        _ => None,
    };
    fixture.conductor.received().into_iter().filter_map(status).collect()
}

/// A rotation waits for the slow request; formerly the probe waited for the rotation.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_behind_a_slow_request_is_no_crash() -> Result<()> {
    let fixture = FixtureBuilder::default()
        .in_memory(Options { iterations: Some(500), ..Options::default() })
        .set("heartbeat.interval", 1)
        .set("couchdb.sha256_iterations", 1000)
        .up()
        .await?;
    until("a heartbeat", async || Ok(reported(&fixture).contains(&ServiceStatus::Healthy))).await?;
    let slow = Fault::DelayMs(u64::try_from(SLOW.as_millis())?);
    fixture.memory()?.faults().add(Rule::new("PUT", "/slow", slow).times(1));
    let create = json!({"databases": [{"_name": "slow"}]});
    let local = fixture.local().await?;
    let (created, rotated) = tokio::join!(fixture.cast("create_database", create), async {
        until_hit(fixture.memory()?).await?;
        anyhow::Ok(local.call("rotate_os_admin", json!({})).await?)
    });
    created?.map_err(anyhow::Error::msg)?;
    rotated?;
    // The status was running before the login, and healthy ever since.
    let heard = reported(&fixture);
    let since = heard.iter().skip_while(|status| **status != ServiceStatus::Healthy);
    assert!(since.into_iter().all(|status| *status == ServiceStatus::Healthy), "{heard:?}");
    Ok(())
}

/// Every answer is slower than the time-out of a probe, but arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_answers_late_is_running() -> Result<()> {
    let fixture = FixtureBuilder::default()
        .in_memory(Options { iterations: Some(500), ..Options::default() })
        .set("heartbeat.interval", 1)
        .set("couchdb.sha256_iterations", 1000)
        .up()
        .await?;
    let slow = Fault::DelayMs(u64::try_from(SLOW.as_millis())?);
    fixture.memory()?.faults().add(Rule::new("*", "*", slow));
    let local = fixture.local().await?;
    let couchdb =
        async || anyhow::Ok(local.call("get_agent_status", json!({})).await?["couchdb"]["state"].clone());
    until("slow", async || Ok(couchdb().await? == "slow")).await?;
    until("another status", async || Ok(reported(&fixture).last() == Some(&ServiceStatus::Running))).await?;
    fixture.memory()?.faults().clear();
    let healthy = || reported(&fixture).last() == Some(&ServiceStatus::Healthy);
    until("healthy again", async || Ok(healthy())).await?;
    assert!(!reported(&fixture).contains(&ServiceStatus::Crashed), "{:?}", reported(&fixture));
    Ok(())
}
