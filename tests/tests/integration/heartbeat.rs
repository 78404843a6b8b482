//! Heartbeats to the conductor.

use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::Options;
use lapin::options::{BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;
use trove_couchdb_protocol::new_id;
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};

const SOON: Duration = trove_couchdb_tests::until::HUNG;

async fn next(fixture: &Fixture, wanted: ServiceStatus) -> Result<f64> {
    let is_wanted = |cast: &ConductorCast| matches!(cast, ConductorCast::Heartbeat { status: Some(status), .. } if *status == wanted);
    match fixture.conductor.next(SOON, is_wanted).await? {
        ConductorCast::Heartbeat { sent, .. } => Ok(sent),
        other => anyhow::bail!("{other:?}"),
    }
}

/// Mutation: heartbeat-goes-back (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn it_follows_couchdb_and_its_time_never_goes_back() -> Result<()> {
    let mut fixture = FixtureBuilder::default()
        .encrypted()
        .in_memory(Options::default())
        .set("heartbeat.interval", 1)
        .up()
        .await?;
    next(&fixture, ServiceStatus::Healthy).await?;
    fixture.couch.memory_mut().unwrap().stop().await;
    next(&fixture, ServiceStatus::Shutdown).await?;
    fixture.couch.memory_mut().unwrap().start_again().await?;
    let before = next(&fixture, ServiceStatus::Healthy).await?;

    // The file shows that the clock was far ahead at the last heartbeat.
    fixture.agent.terminate().await?;
    let ahead = before + 86_400.0;
    std::fs::write(fixture.agent.directory().join("state/last_sent"), format!("{ahead}\n"))?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    let after = next(&fixture, ServiceStatus::Healthy).await?;
    assert!(after > ahead, "{after} is not after {ahead}");
    let sent: Vec<f64> = fixture
        .conductor
        .received()
        .iter()
        .filter_map(|cast| if let ConductorCast::Heartbeat { sent, .. } = cast { Some(*sent) } else { None })
        .collect();
    assert!(sent.len() >= 4 && sent.windows(2).all(|pair| pair[0] < pair[1]), "{sent:?}");
    Ok(())
}

/// Hardly any number is greater than 1e300, and the conductor accepts only heartbeats that are greater than
/// the last one.
#[tokio::test(flavor = "multi_thread")]
async fn a_stored_time_that_cannot_be_is_replaced() -> Result<()> {
    let mut fixture =
        FixtureBuilder::default().in_memory(Options::default()).set("heartbeat.interval", 1).up().await?;
    let before = next(&fixture, ServiceStatus::Healthy).await?;
    for stored in ["1e300", "4102444800.0"] {
        fixture.agent.terminate().await?;
        std::fs::write(fixture.agent.directory().join("state/last_sent"), stored)?;
        fixture.agent.start_again()?;
        fixture.agent.wait_ready().await?;
        // A heartbeat from before the restart may be among them.
        let sent =
            [next(&fixture, ServiceStatus::Healthy).await?, next(&fixture, ServiceStatus::Healthy).await?];
        assert!(sent[1] > before && sent[1] < before + 86_400.0, "{sent:?} after {before}");
        assert!(fixture.agent.logs().contains("The time of the last heartbeat is in the future"), "{stored}");
    }
    Ok(())
}

/// On a user's request Trove sets the service status to `upgrading` or `restarting`, and serves nothing until
/// the next heartbeat. So the agent sends a heartbeat with the refusal instead of waiting until it is due.
///
/// Mutation: refusal-without-a-heartbeat (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_action_is_followed_by_a_heartbeat() -> Result<()> {
    let fixture = FixtureBuilder::default().set("heartbeat.interval", 600).up().await?;
    next(&fixture, ServiceStatus::Healthy).await?;
    fixture.call("pre_upgrade", json!({})).await.expect_err("it is not served");
    next(&fixture, ServiceStatus::Healthy).await?;
    fixture.call("restart", json!({})).await.expect_err("it is not served");
    next(&fixture, ServiceStatus::Healthy).await?;
    Ok(())
}

/// CouchDB runs but cannot work.
#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_in_maintenance_mode_is_running_and_not_healthy() -> Result<()> {
    let fixture =
        FixtureBuilder::default().in_memory(Options::default()).set("heartbeat.interval", 1).up().await?;
    next(&fixture, ServiceStatus::Healthy).await?;
    let path = "/_node/_local/_config/couchdb/maintenance_mode";
    for (mode, status) in [("true", ServiceStatus::Running), ("false", ServiceStatus::Healthy)] {
        fixture.client.put(path, Some(fixture.couch.admin()), &json!(mode)).await?;
        next(&fixture, status).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_is_not_prepared_is_silent_until_it_is() -> Result<()> {
    let fixture = FixtureBuilder::default()
        .set("heartbeat.assume_prepared", false)
        .set("heartbeat.interval", 1)
        .up()
        .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(fixture.conductor.received().is_empty());
    std::fs::write(fixture.agent.directory().join("state/prepared.json"), r#"{"prepared": true}"#)?;
    next(&fixture, ServiceStatus::Healthy).await?;
    Ok(())
}

/// The broker refuses the heartbeat (`basic.nack`), here because of a full second queue for the same
/// messages. The reported age of the last heartbeat must not count a refused one.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_the_broker_did_not_take_is_not_told_of() -> Result<()> {
    let mut fixture = FixtureBuilder::default().set("heartbeat.interval", 1).up().await?;
    let sent_at = async |fixture: &Fixture| {
        let status = fixture.call("get_agent_status", json!({})).await?;
        status["heartbeat"]["sent_at"].as_f64().context("no heartbeat was told of")
    };
    next(&fixture, ServiceStatus::Healthy).await?;
    next(&fixture, ServiceStatus::Healthy).await?;
    sent_at(&fixture).await?;

    let (channel, queue) = (fixture.rpc.channel().await?, format!("full-{}", new_id()));
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), AMQPValue::LongInt(1));
    full.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::default(), full).await?;
    let properties = trove_couchdb_guest::broker::properties();
    let options = BasicPublishOptions::default();
    drop(channel.basic_publish("".into(), queue.as_str().into(), options, b"full", properties).await?);
    let (exchange, key) = (fixture.exchange().to_owned(), fixture.agent.options().conductor_queue.clone());
    let bind = QueueBindOptions::default();
    let (queue, exchange, key) = (queue.as_str().into(), exchange.as_str().into(), key.as_str().into());
    channel.queue_bind(queue, exchange, key, bind, FieldTable::default()).await?;

    // Heartbeats that were in flight when the queue was bound may have been accepted.
    next(&fixture, ServiceStatus::Healthy).await?;
    next(&fixture, ServiceStatus::Healthy).await?;
    let before = sent_at(&fixture).await?;
    next(&fixture, ServiceStatus::Healthy).await?;
    let refused = next(&fixture, ServiceStatus::Healthy).await?;
    let after = sent_at(&fixture).await?;
    assert!((after - before).abs() < 1e-6, "{after} was told of, {before} is the last that was taken");
    assert!(refused > before);
    Ok(())
}
