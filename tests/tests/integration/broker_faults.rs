//! Brokers that misbehave: a deleted queue, a dead host, a server that accepts connections but never answers.

use std::time::{Duration, Instant};

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use lapin::options::QueueDeleteOptions;
use serde_json::json;
use tokio::net::TcpListener;
use trove_couchdb_protocol::trove::ConductorCast;
use trove_couchdb_tests::agent::AgentProcess;
use trove_couchdb_tests::conductor::Conductor;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rabbitmq::RabbitNode;
use trove_couchdb_tests::rpc::{Request, notification};
use trove_couchdb_tests::until::{HUNG, until, until_hit};

use crate::broker_loss::consumes_again;

/// One of three consumers is cancelled: the agent must consume its queue again.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_and_consumed_again() -> Result<()> {
    let fixture = FixtureBuilder::default().up().await?;
    let channel = fixture.rpc.channel().await?;
    channel.queue_delete(fixture.rpc.topic().into(), QueueDeleteOptions::default()).await?;
    consumes_again(&fixture).await?;
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_host_is_tried_when_one_is_dead() -> Result<()> {
    let mut fixture = FixtureBuilder::default().up().await?;
    let options = fixture.agent.options();
    options.transport_url = options.transport_url.replace("rabbit://", "rabbit://x:y@127.0.0.1:1,");
    fixture.agent.terminate().await?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    Ok(())
}

/// A paused broker, or a load balancer without a broker.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_never_answers_costs_no_threads_and_no_sockets() -> Result<()> {
    let mut fixture = FixtureBuilder::default().up().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let accepting = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    let options = fixture.agent.options().clone();
    let mut silent = options
        .set("broker.connect_timeout", 0.3)
        .set("broker.reconnect_min", 0.1)
        .set("broker.reconnect_max", 0.1);
    silent.transport_url = format!("rabbit://nobody:x@{address}//");
    let mut lonely = AgentProcess::start(silent)?;
    let after_tries = async |tries| {
        while lonely.logs().matches("No connection to the broker").count() < tries {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    after_tries(5).await;
    let costs = |agent: &AgentProcess| anyhow::Ok((entries(agent, "task")?, entries(agent, "fd")?));
    let before = costs(&lonely)?;
    after_tries(25).await;
    // On a busy machine some tries are always unfinished; only resources that are never released are an
    // error.
    let began = Instant::now();
    loop {
        let after = costs(&lonely)?;
        if after.0 <= before.0 + 3 && after.1 <= before.1 + 3 {
            break;
        }
        assert!(began.elapsed() < HUNG, "20 tries cost {before:?} -> {after:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(lonely.terminate().await?.success());
    accepting.abort();
    Ok(())
}

fn entries(agent: &AgentProcess, of: &str) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/{of}", agent.pid()))?.count())
}

/// With oslo's non-durable queues a restarted broker has lost the command that was running; its result is
/// reported anyway.
///
/// Mutation: answer-dies-with-its-connection (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_command_is_reported_to_the_next_broker() -> Result<()> {
    let mut broker = RabbitNode::start().await?;
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up_on(&broker).await?;
    let db = fixture.name("db");
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), Fault::DelayMs(3000)).times(1));
    let end = notification(&fixture.id, "create_database");
    let create = Request::new("create_database", json!({"databases": [{"_name": db}]})).notified(end.clone());
    fixture.rpc.cast(&create).await?;
    until_hit(fixture.memory()?).await?;
    broker.kill9()?;
    broker.start_again().await?;
    let queue = format!("conductor-{}", fixture.id);
    let conductor = Conductor::listen(&broker.amqp_uri(), fixture.exchange(), &queue, None).await?;
    let is_the_end = |cast: &ConductorCast| matches!(cast, ConductorCast::NotifyEnd { notification } if notification["request_id"] == end["request_id"]);
    conductor.next(HUNG, is_the_end).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_fed_by_the_living() -> Result<()> {
    let mut fixture: Fixture = FixtureBuilder::default().up().await?;
    fixture.agent.terminate().await?;
    fixture.agent.options().environment.push(("WATCHDOG_USEC".to_owned(), "1000000".to_owned()));
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    let fed =
        |fixture: &Fixture| fixture.agent.notifications().iter().filter(|line| *line == "WATCHDOG=1").count();
    until("a watchdog that is fed again and again", async || Ok(fed(&fixture) >= 4)).await
}
