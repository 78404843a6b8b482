//! The broker dies, and nothing is lost.

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::json;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rabbitmq::RabbitNode;
use trove_couchdb_tests::rpc::{Request, RpcClient};
use trove_couchdb_tests::until::{HUNG, until_hit};

/// With durable queues (which the control plane must use too), a command that waits in a killed broker and a
/// command that runs meanwhile both take effect.
#[tokio::test(flavor = "multi_thread")]
async fn commands_survive_a_killed_broker() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let builder = FixtureBuilder::default().in_memory(Options::default()).oslo("amqp_durable_queues = true");
    let fixture = builder.up_on(&broker).await?;
    let (running, waiting) = (fixture.name("running"), fixture.name("waiting"));
    let create = |name: &str| Request::new("create_database", json!({"databases": [{"_name": name}]}));
    // In flight when the broker dies; its lock makes the next command on the same database wait.
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{running}"), Fault::DelayMs(3000)).times(1));
    fixture.rpc.cast(&create(&running)).await?;
    until_hit(fixture.memory()?).await?;
    fixture.rpc.cast(&create(&waiting)).await?;
    broker.kill9()?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    broker.start_again().await?;

    let rpc = RpcClient::connect(&broker.amqp_uri(), fixture.exchange(), &fixture.id, None).await?;
    consumes_again(&fixture).await?;
    let listed = rpc.request(&Request::new("list_databases", json!({})).timeout(HUNG)).await?;
    let listed = listed.to_string();
    assert!(listed.contains(&running) && listed.contains(&waiting), "{listed}");
    let puts = fixture.memory()?.log().count("PUT", &format!("/{running}"));
    assert_eq!(puts, 1, "the command that ran while the broker was away did not run again");
    assert!(fixture.agent.logs().contains("No connection to the broker"));
    Ok(())
}

/// Non-durable queues vanish with the broker: they are declared again and work.
#[tokio::test(flavor = "multi_thread")]
async fn queues_are_declared_again_after_a_restart() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let fixture = FixtureBuilder::default().up_on(&broker).await?;
    broker.stop().await?;
    fixture.agent.wait_notification(HUNG, |line| line.contains("no broker")).await?;
    broker.start_again().await?;
    consumes_again(&fixture).await?;
    let rpc = RpcClient::connect(&broker.amqp_uri(), fixture.exchange(), &fixture.id, None).await?;
    assert_eq!(rpc.call("rpc_ping", json!({})).await?, true);
    Ok(())
}

pub(crate) async fn consumes_again(fixture: &Fixture) -> Result<()> {
    for _ in 0..3_000 {
        if fixture.agent.logs().matches("Consuming.").count() >= 2 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the agent did not come back:\n{}", fixture.agent.logs())
}
