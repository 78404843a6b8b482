//! `doctor` with a broker that is down, refuses the account, or has a queue that differs from the
//! configuration.

use std::time::Duration;

use anyhow::Result;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rabbitmq::{self, RabbitNode};
use trove_couchdb_tests::until::HUNG;

use crate::doctor_host::Found;
use crate::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_set_up() -> Result<()> {
    let fixture = FixtureBuilder::default().encrypted().set("heartbeat.interval", 1).up().await?;
    fixture.conductor.next(HUNG, |_| true).await?;
    let cli = Tool::configured(&fixture.agent);
    let found = Found::by(&cli).await?;
    for id in [
        "broker.reachable",
        "broker.login",
        "broker.queue",
        "broker.queue_flags",
        "agent.broker",
        "agent.heartbeat",
    ] {
        assert_eq!(found.status(id), "ok", "{found:#?}");
    }
    found.must_have_failed(&[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let fixture = FixtureBuilder::default().up_on(&broker).await?;
    broker.kill9()?;
    fixture.agent.wait_log("No connection to the broker", HUNG).await?;
    let found = Found::by(&Tool::configured(&fixture.agent)).await?;
    assert!(found.failed().contains(&"broker.reachable"), "{found:#?}");
    assert!(found.failed().contains(&"agent.broker"), "{found:#?}");
    assert_eq!(found.status("broker.login"), "skipped");
    assert_eq!(found.status("couchdb.login"), "ok");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_or_a_virtual_host_that_the_broker_does_not_take() -> Result<()> {
    let fixture = Fixture::up().await?;
    let directory = fixture.agent.directory();
    let file = directory.join("conf.d/trove-guestagent.conf");
    let sound = std::fs::read_to_string(&file)?;
    std::fs::write(&file, sound.replacen("trove:", "trove:wrong", 1))?;
    let cli = Tool::configured(&fixture.agent);
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["broker.login"]);
    assert!(found.detail("broker.login").to_uppercase().contains("REFUSED"), "{found:#?}");
    let lines = sound.lines().map(|line| match line.strip_prefix("transport_url") {
        Some(_) => {
            line.replace("//", "/").replace("rabbit:/", "rabbit://").trim_end_matches('/').to_owned()
                + "/nowhere"
        }
        None => line.to_owned(),
    });
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n"))?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["broker.login"]);
    assert!(found.detail("broker.login").contains("nowhere"), "{found:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_flags_than_configured() -> Result<()> {
    let fixture = Fixture::up().await?;
    let file = fixture.agent.directory().join("conf.d/trove-guestagent.conf");
    let sound = std::fs::read_to_string(&file)?;
    std::fs::write(&file, sound + "amqp_durable_queues = true\n")?;
    let found = Found::by(&Tool::configured(&fixture.agent)).await?;
    found.must_have_failed(&["broker.queue_flags"]);
    assert!(found.detail("broker.queue_flags").contains("durable"), "{found:#?}");
    // Nothing was declared or lost: the agent still receives messages.
    assert_eq!(fixture.call("rpc_ping", serde_json::json!({})).await?, true);
    Ok(())
}

/// A cloned machine: its agent has the same id, and takes every other command.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_machine_reads_the_same_queue() -> Result<()> {
    let fixture = Fixture::up().await?;
    let cli = Tool::configured(&fixture.agent);
    let found = Found::by(&cli).await?;
    assert_eq!(found.status("broker.consumers"), "ok", "{found:#?}");
    let uri = format!("{}?frame_max=131072&heartbeat=60", rabbitmq::shared().await?.amqp_uri());
    let copy = lapin::Connection::connect(&uri, lapin::ConnectionProperties::default()).await?;
    let queue = format!("guestagent.{}", fixture.id);
    let channel = copy.create_channel().await?;
    let options = lapin::options::BasicConsumeOptions::default();
    let table = lapin::types::FieldTable::default();
    let _reads = channel.basic_consume(queue.into(), "".into(), options, table).await?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["broker.consumers"]);
    assert!(found.detail("broker.consumers").starts_with("2 consumers read guestagent."), "{found:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_and_one_without_a_consumer() -> Result<()> {
    let mut fixture = Fixture::up().await?;
    fixture.agent.kill9()?;
    fixture.agent.exit_within(HUNG).await?;
    let cli = Tool::configured(&fixture.agent);
    let mut status = String::new();
    // The broker may notice the lost connection with a delay.
    for _ in 0..3_000 {
        Found::by(&cli).await?.status("broker.queue").clone_into(&mut status);
        if status == "warning" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status, "warning");

    let file = fixture.agent.directory().join("conf.d/guest_info.conf");
    let another = std::fs::read_to_string(&file)?.replace(&fixture.id, "an-instance-of-nobody");
    std::fs::write(&file, another)?;
    let found = Found::by(&cli).await?;
    assert!(found.failed().contains(&"broker.queue"), "{found:#?}");
    assert_eq!(found.status("broker.queue_flags"), "skipped");
    Found::by(&cli).await?.must_have_failed(&["agent.socket", "broker.queue"]);
    Ok(())
}
