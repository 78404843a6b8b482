//! Confirmed messages are safe, refused or returned ones are published again, and the agent leaves a dead
//! host within seconds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lapin::Channel;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::ConductorCast;
use trove_couchdb_protocol::{Outcome, decode_reply, envelope, new_id};
use trove_couchdb_tests::conductor::Conductor;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::process::Signal;
use trove_couchdb_tests::rabbitmq::{self, RabbitNode};
use trove_couchdb_tests::rpc::{Request, RpcClient, notification};

const SOON: Duration = trove_couchdb_tests::until::HUNG;

/// A ping with this reply queue.
fn ping_answered_to(queue: &str) -> Vec<u8> {
    envelope::encode(&json!({
        "method": "rpc_ping", "args": {}, "version": "1.0", "_msg_id": new_id(), "_reply_q": queue, "_timeout": null,
        "_unique_id": new_id(),
    }))
}

fn table(entries: &[(&'static str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert((*key).into(), value.clone());
    }
    table
}

/// The next reply in a queue.
async fn answer_in(channel: &Channel, queue: &str) -> Result<Value> {
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await?;
        if let Some(reply) = got.and_then(|got| decode_reply(&got.delivery.data, None).ok()) {
            let Outcome::Success(value) = reply.outcome else { anyhow::bail!("{:?}", reply.outcome) };
            return Ok(value);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("no answer within {SOON:?}")
}

/// A caller that lost its connection declares its reply queue again. Meanwhile the queue is gone, and the
/// broker returns the reply (oslo.messaging retries for a minute, every quarter of a second).
///
/// Mutation: without `mandatory` (`publisher/channel.rs`) the broker drops the reply and confirms it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_a_queue_that_comes_late() -> Result<()> {
    let fixture = FixtureBuilder::default().up().await?;
    let queue = format!("reply_{}", new_id());
    fixture.rpc.publish_raw(&ping_answered_to(&queue)).await?;
    // A later call is answered, so the first reply has been published and returned.
    fixture.call("rpc_ping", json!({})).await?;
    let channel = fixture.rpc.channel().await?;
    channel
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::default(), FieldTable::default())
        .await?;
    assert_eq!(answer_in(&channel, &queue).await?, true);
    Ok(())
}

/// The broker refuses the reply (`basic.nack`): here because the queue is full, elsewhere because it has no
/// majority.
///
/// Mutation: without `confirm_select` (`guest/src/broker/topology.rs`), or if a refusal counts as success,
/// the reply is lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_broker_refuses_is_offered_again() -> Result<()> {
    let fixture = FixtureBuilder::default().up().await?;
    let queue = format!("reply_{}", new_id());
    let channel = fixture.rpc.channel().await?;
    let full = table(&[
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ]);
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::default(), full).await?;
    let (options, properties) = (BasicPublishOptions::default(), trove_couchdb_guest::broker::properties());
    drop(channel.basic_publish("".into(), queue.as_str().into(), options, b"full", properties).await?);
    fixture.rpc.publish_raw(&ping_answered_to(&queue)).await?;
    fixture.agent.wait_log("The broker could not take a message", SOON).await?;
    channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await?;
    assert_eq!(answer_in(&channel, &queue).await?, true);
    Ok(())
}

/// Queues of a different type or with different flags, which match none of the agent's declarations, are used
/// as they are: deleting them would break the control plane's declarations.
///
/// Mutation: without the passive declaration (`guest/src/broker/topology.rs`, `Declarer::queue`) the agent
/// never becomes ready.
#[tokio::test(flavor = "multi_thread")]
async fn queues_that_fit_no_declaration_are_used_as_they_are() -> Result<()> {
    let mut fixture = FixtureBuilder::default().up().await?;
    let quorum = table(&[("x-queue-type", AMQPValue::LongString("quorum".into()))]);
    let expires = table(&[("x-expires", AMQPValue::LongInt(600_000))]);
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let auto_delete = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
    let odd =
        [(durable, quorum), (QueueDeclareOptions::default(), expires), (auto_delete, FieldTable::default())];
    for (options, arguments) in odd {
        fixture.agent.terminate().await?;
        let channel = fixture.rpc.channel().await?;
        channel.queue_delete(fixture.rpc.topic().into(), QueueDeleteOptions::default()).await?;
        channel.queue_declare(fixture.rpc.topic().into(), options, arguments.clone()).await?;
        fixture.agent.start_again()?;
        fixture.agent.wait_ready().await?;
        assert_eq!(fixture.call("rpc_ping", json!({})).await?, true, "{options:?} {arguments:?}");
        // The queue is unchanged: the same declaration matches.
        channel.queue_declare(fixture.rpc.topic().into(), options, arguments).await?;
    }
    Ok(())
}

/// Waits until the agent consumes from the broker at this port for the `times`th time.
async fn consumes_from(fixture: &Fixture, port: u16, times: usize) -> Result<()> {
    let address = format!("127.0.0.1:{port}");
    let deadline = Instant::now() + trove_couchdb_tests::until::HUNG;
    while Instant::now() < deadline {
        let logs = fixture.agent.logs();
        let there = logs.lines().filter(|line| line.contains("Consuming.") && line.contains(&address));
        if there.count() >= times {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the agent did not come to {address}:\n{}", fixture.agent.logs())
}

/// Two brokers: the one that the agent uses is killed, then the other hangs. Typical on an idle machine: 0.1
/// s, and twice the heartbeat.
///
/// Mutation: if only the first host is used (`guest/src/broker/connect.rs`, `Hosts::next`), the agent waits
/// for it forever.
#[tokio::test(flavor = "multi_thread")]
async fn another_host_is_used_within_seconds() -> Result<()> {
    let (first, second) = tokio::try_join!(RabbitNode::start(), RabbitNode::start())?;
    let mut nodes = [first, second];
    let builder = FixtureBuilder::default().oslo("heartbeat_timeout_threshold = 4");
    let mut fixture = builder.up_on(&nodes[0]).await?;
    fixture.agent.terminate().await?;
    let hosts = |node: &RabbitNode| {
        let url = node.transport_url();
        url.trim_start_matches("rabbit://").trim_end_matches('/').to_owned()
    };
    fixture.agent.options().transport_url = format!("rabbit://{},{}//", hosts(&nodes[0]), hosts(&nodes[1]));
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    let logs = fixture.agent.logs();
    let connected = logs.lines().rfind(|line| line.contains("Consuming.")).context("connected")?;
    let on = usize::from(!connected.contains(&format!("127.0.0.1:{}", nodes[0].port())));
    let other = 1 - on;
    let before = [nodes[0].port(), nodes[1].port()]
        .map(|port| logs.matches(&format!("Consuming. broker=\"127.0.0.1:{port}\"")).count());

    let began = Instant::now();
    nodes[on].kill9()?;
    consumes_from(&fixture, nodes[other].port(), before[other] + 1).await?;
    let killed = began.elapsed();
    let rpc = RpcClient::connect(&nodes[other].amqp_uri(), fixture.exchange(), &fixture.id, None).await?;
    rpc.request(&Request::new("rpc_ping", json!({}))).await?;
    nodes[on].start_again().await?;

    let began = Instant::now();
    nodes[other].signal(Signal::STOP)?;
    let back = consumes_from(&fixture, nodes[on].port(), before[on] + 1).await;
    let hung = began.elapsed();
    nodes[other].signal(Signal::CONT)?;
    back?;
    println!("left a killed host after {killed:.1?}, one that hangs after {hung:.1?}");
    Ok(())
}

/// The conductor's queue was in the memory of a restarted broker. Before the conductor declares it again, a
/// command is carried out and the agent dies.
///
/// Mutation: without `HELD` (`publisher/queue.rs`) the command is acknowledged but its result is never
/// reported.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_command_is_reported_to_a_conductor_that_comes_late() -> Result<()> {
    let mut fixture = FixtureBuilder::default().up().await?;
    let queue = format!("conductor-{}", fixture.id);
    let channel = fixture.rpc.channel().await?;
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    let (db, end) = (fixture.name("db"), notification(&fixture.id, "create_database"));
    let create = Request::new("create_database", json!({"databases": [{"_name": db}]}));
    fixture.rpc.cast(&create.notified(end.clone())).await?;
    fixture.agent.wait_log("Done. method=\"create_database\"", SOON).await?;
    // Long enough to publish the report and get it returned, and for an acknowledgement that must not be
    // sent.
    tokio::time::sleep(Duration::from_millis(700)).await;
    fixture.agent.kill9()?;
    fixture.agent.start_again()?;
    let uri = rabbitmq::shared().await?.amqp_uri();
    let conductor = Conductor::listen(&uri, fixture.exchange(), &queue, None).await?;
    let is_the_end = |cast: &ConductorCast| matches!(cast, ConductorCast::NotifyEnd { notification } if notification["request_id"] == end["request_id"]);
    conductor.next(SOON, is_the_end).await?;
    Ok(())
}
