//! A broker with a memory alarm accepts no messages (`connection.blocked`): the agent waits and continues.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::Options;
use serde_json::{Value, json};
use tokio::process::Command;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rabbitmq::RabbitNode;
use trove_couchdb_tests::rpc::Request;
use trove_couchdb_tests::web;

const METRICS: &str = "metrics.sock";
const LIMIT: Duration = Duration::from_secs(180);

/// Longer than the agent waits for a confirmation from a broker that accepts messages.
const LONGER_THAN_A_CONFIRMATION: Duration = Duration::from_secs(35);

async fn set_watermark(broker: &RabbitNode, watermark: &str) -> Result<()> {
    let ctl = broker.rabbitmqctl()?.join("rabbitmqctl");
    let done = Command::new(ctl).args(["set_vm_memory_high_watermark", watermark]).output().await?;
    anyhow::ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

async fn broker_state(fixture: &Fixture) -> Result<Value> {
    Ok(fixture.local().await?.call("get_agent_status", json!({})).await?["broker"].clone())
}

async fn until_state(fixture: &Fixture, wanted: &str) -> Result<Value> {
    let wait = async {
        loop {
            let broker = broker_state(fixture).await?;
            if broker["state"] == wanted {
                return anyhow::Ok(broker);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.with_context(|| format!("the broker is not {wanted}"))?
}

async fn metric(directory: &Path, name: &str) -> Result<u64> {
    let text = web::get_unix(&directory.join(METRICS), "/metrics").await?.body;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.with_context(|| format!("{name} is not in\n{text}"))
}

/// Mutation: alarm-ends-connections (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn answers_wait_for_a_broker_in_alarm_and_no_connection_ends() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let broker = RabbitNode::start().await?;
    let builder = FixtureBuilder::default().in_memory(Options::default()).set("heartbeat.interval", 1);
    // An alarm takes some time on a busy machine, and CouchDB is down meanwhile.
    let builder = builder.set("rpc.call_retry_timeout", 300);
    let builder =
        builder.set("metrics.listen", directory.path().join(METRICS).to_string_lossy().into_owned());
    let mut fixture = builder.up_on(&broker).await?;
    let (over_the_broker, over_the_socket) = (fixture.name("a"), fixture.name("b"));
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);

    // The reply is ready only after the alarm: a test that publishes then would be blocked as well.
    fixture.couch.memory_mut().context("in memory")?.stop().await;
    let create = json!({"databases": [{"_name": over_the_broker}]});
    let call = fixture.rpc.encode_call(&Request::new("create_database", create).timeout(LIMIT * 2));
    let answer = fixture.rpc.expect_reply(&call);
    fixture.rpc.send(&call).await?;
    set_watermark(&broker, "0.0000001").await?;
    let blocked = until_state(&fixture, "blocked").await?;
    assert!(blocked["reason"].as_str().unwrap_or_default().contains("takes no messages"), "{blocked}");
    fixture.couch.memory_mut().context("in memory")?.start_again().await?;

    let create = json!({"databases": [{"_name": over_the_socket}]});
    // The agent has not noticed yet that CouchDB is back.
    let made = async {
        while fixture.local().await?.call("create_database", create.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, made).await.context("commands of this machine go on")??;
    tokio::time::sleep(LONGER_THAN_A_CONFIRMATION).await;
    assert_eq!(broker_state(&fixture).await?["state"], "blocked");
    let reported = fixture.agent.notifications();
    assert!(
        reported.iter().any(|line| line.contains("answers wait: the broker takes no messages")),
        "{reported:?}"
    );

    set_watermark(&broker, "0.4").await?;
    assert_eq!(answer.within(LIMIT).await?, Value::Null);
    until_state(&fixture, "up").await?;
    assert_eq!(metric(directory.path(), "trove_couchdb_agent_broker_alarms_total").await?, 1);
    assert_eq!(metric(directory.path(), "trove_couchdb_agent_broker_reconnects_total").await?, 0);
    assert!(!fixture.agent.logs().contains("No connection to the broker"), "{}", fixture.agent.logs());

    // SIGTERM stops the agent although messages are waiting.
    set_watermark(&broker, "0.0000001").await?;
    until_state(&fixture, "blocked").await?;
    assert!(fixture.agent.terminate().await?.success());
    Ok(())
}
