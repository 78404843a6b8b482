//! Messages for which the broker closes the connection, and queues that it refuses: the agent continues, and
//! does not retry forever.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::Options;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};
use trove_couchdb_guest::broker::properties;
use trove_couchdb_protocol::envelope;
use trove_couchdb_tests::amqp_proxy::{AmqpProxy, ClientMethod, End};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::process::Signal;
use trove_couchdb_tests::rabbitmq;
use trove_couchdb_tests::rpc::Request;
use trove_couchdb_tests::web;

/// RabbitMQ's channel crashes on this reply queue (`rabbit_channel.erl`).
const CRASHES_RABBITMQ: &str = "amq.rabbitmq.reply-to.AAAA.BBBB";

/// Stands for reply queues whose effect is not known yet.
const POISON: &str = "reply_poison";

/// RabbitMQ 4.3's reply text (`rabbit_deprecated_features.erl`), truncated as AMQP truncates it.
const TRANSIENT_QUEUE: &str = "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.\nBy default, this \
     feature is not permitted anymore.\nThe feature will be removed from a future major RabbitMQ version, regardless of \
     the configuration; actual version to be determined.\nTo...";

const METRICS: &str = "metrics.sock";
const LIMIT: Duration = Duration::from_secs(120);
const LOST: &str = "No connection to the broker.";

fn quick(builder: FixtureBuilder, directory: &Path) -> FixtureBuilder {
    builder
        .set("broker.reconnect_min", 0.1)
        .set("broker.reconnect_max", 0.2)
        .set("metrics.listen", directory.join(METRICS).to_string_lossy().into_owned())
        .in_memory(Options::default())
}

/// A fixture whose agent reaches the shared broker through a proxy.
async fn behind(proxy: &AmqpProxy, builder: FixtureBuilder, directory: &Path) -> Result<Fixture> {
    let url = rabbitmq::shared().await?.transport_url_at(proxy.port());
    quick(builder, directory).transport_url(&url).up().await
}

fn poisoned(end: End) -> impl Fn(&ClientMethod) -> Option<End> {
    move |method| (method.publishes_to().as_deref() == Some(POISON)).then_some(end)
}

/// A call that is valid except for its reply queue.
fn call_answered_to(queue: &str, id: Option<&str>) -> Vec<u8> {
    let mut call = json!({
        "method": "rpc_ping", "args": {}, "version": "1.0", "_msg_id": "m-of-poison", "_reply_q": queue,
    });
    call["_unique_id"] = id.map_or(Value::Null, Value::from);
    envelope::encode(&call)
}

async fn metric(directory: &Path, name: &str) -> Result<u64> {
    let text = web::get_unix(&directory.join(METRICS), "/metrics").await?.body;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.with_context(|| format!("{name} is not in\n{text}"))
}

async fn until(what: &str, reached: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let wait = async {
        while !reached().await? {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    tokio::time::timeout(LIMIT, wait).await.with_context(|| format!("not within {LIMIT:?}: {what}"))?
}

async fn until_all_is_acknowledged(fixture: &Fixture) -> Result<()> {
    until("the queue is empty, and nothing of it under way", async || {
        let channel = fixture.rpc.channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let ready = channel.queue_declare(fixture.rpc.topic().into(), passive, FieldTable::default()).await;
        let status = fixture.local().await?.call("get_agent_status", json!({})).await?;
        Ok(ready?.message_count() == 0 && status["broker"]["state"] == "up")
    })
    .await
}

/// Mutation: reply-to-the-brokers-own (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_queue_of_the_brokers_own_ends_no_connection() -> Result<()> {
    for builder in [FixtureBuilder::default(), FixtureBuilder::default().encrypted()] {
        let directory = tempfile::tempdir()?;
        let fixture = quick(builder, directory.path()).up().await?;
        fixture.rpc.publish_raw(br#"{"_msg_id":"x","_reply_q":"amq.rabbitmq.reply-to.AAAA.BBBB"}"#).await?;
        let bare = json!({"_msg_id": "x", "_reply_q": CRASHES_RABBITMQ});
        fixture.rpc.publish_raw(&envelope::encode(&bare)).await?;
        for id in [None, Some("u-of-poison")] {
            fixture.rpc.publish_raw(&call_answered_to(CRASHES_RABBITMQ, id)).await?;
        }
        // After the others in the same queue.
        assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
        assert!(!fixture.agent.logs().contains(LOST), "{}", fixture.agent.logs());
        assert_eq!(metric(directory.path(), "trove_couchdb_agent_broker_reconnects_total").await?, 0);
    }
    Ok(())
}

/// Mutation: closures-loop (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_ends_each_connection_is_dropped_and_all_others_arrive() -> Result<()> {
    for end in [End::Close(505, "UNEXPECTED_FRAME - made up"), End::Cut] {
        let directory = tempfile::tempdir()?;
        let proxy = AmqpProxy::start(rabbitmq::shared().await?.port(), poisoned(end)).await?;
        let fixture = behind(&proxy, FixtureBuilder::default(), directory.path()).await?;
        for (id, dropped) in [(Some("u-of-poison"), 1), (None, 2)] {
            fixture.rpc.publish_raw(&call_answered_to(POISON, id)).await?;
            let beside: Vec<_> = (0..5).map(|_| fixture.call("rpc_ping", json!({}))).collect();
            for answer in futures_util::future::join_all(beside).await {
                assert_eq!(answer?, true, "an innocent answer was lost");
            }
            until("the answer is dropped", async || {
                Ok(metric(directory.path(), "trove_couchdb_agent_answers_dropped_total").await? >= dropped)
            })
            .await?;
            until_all_is_acknowledged(&fixture).await?;
        }
        assert!(fixture.agent.logs().contains("and again when it went out alone; it is dropped"));
        // Once with other replies, then alone. More often after an outage without a known reason, or if a
        // busy lapin sees the end of the stream before the reason. The tests of transport::amqp::publisher
        // count exactly.
        let (ended, most) = (proxy.ended(), 4);
        assert!(ended <= 2 * most, "{ended} connections for two answers\n{}", fixture.agent.logs());
        assert_eq!(metric(directory.path(), "trove_couchdb_agent_answers_dropped_total").await?, 2);
    }
    Ok(())
}

/// Messages that are not encrypted with the key, or not readable, are acknowledged before they are answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_ends_the_connection_does_not_bring_its_message_again() -> Result<()> {
    for builder in [FixtureBuilder::default().encrypted(), FixtureBuilder::default()] {
        let end = End::Close(541, "INTERNAL_ERROR");
        let directory = tempfile::tempdir()?;
        let proxy = AmqpProxy::start(rabbitmq::shared().await?.port(), poisoned(end)).await?;
        let fixture = behind(&proxy, builder, directory.path()).await?;
        let refused = json!({"method": 5, "_msg_id": "x", "_reply_q": POISON, "args": {"a": "b"}});
        fixture.rpc.publish_raw(&envelope::encode(&refused)).await?;
        until("the connection has ended", async || Ok(proxy.ended() >= 1)).await?;
        until_all_is_acknowledged(&fixture).await?;
        assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
        // As above: on a busy machine more than the two that it takes at least.
        assert!(proxy.ended() <= 4, "{} connections for one answer", proxy.ended());
        let redelivered = metric(directory.path(), "trove_couchdb_agent_redeliveries_total").await?;
        assert_eq!(redelivered, 0, "it came again");
    }
    Ok(())
}

fn as_rabbitmq_4_3(method: &ClientMethod) -> Option<End> {
    method.transient_shared_queue().map(|_| End::Close(541, TRANSIENT_QUEUE))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_fanout_queue_that_rabbitmq_4_refuses_the_agent_serves() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let proxy = AmqpProxy::start(rabbitmq::shared().await?.port(), as_rabbitmq_4_3).await?;
    let fixture =
        behind(&proxy, FixtureBuilder::default().oslo("amqp_durable_queues=true"), directory.path()).await?;
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    let log = fixture.agent.logs();
    assert!(log.contains("The broker refuses the fanout queue") && !log.contains(LOST), "{log}");
    assert!(log.contains(&format!("guestagent.{}_fanout_", fixture.id)), "the queue is named: {log}");
    assert_eq!(proxy.ended(), 1);
    Ok(())
}

/// Trove's own queues are transient unless configured otherwise, and so are the agent's.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_the_guests_that_is_refused_is_named_with_what_helps() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let proxy = AmqpProxy::start(rabbitmq::shared().await?.port(), as_rabbitmq_4_3).await?;
    let url = rabbitmq::shared().await?.transport_url_at(proxy.port());
    let mut fixture = quick(FixtureBuilder::default(), directory.path()).up().await?;
    fixture.agent.terminate().await?;
    fixture.agent.options().transport_url = url;
    fixture.agent.start_again()?;
    let expected = format!("cannot declare the queue \\\"guestagent.{}\\\"", fixture.id);
    until("the log names the queue", async || {
        let log = fixture.agent.logs();
        Ok(log.contains(&expected) && log.contains("set amqp_durable_queues or rabbit_quorum_queue"))
    })
    .await
}

/// The number of messages in the queue that the broker has not delivered.
async fn ready(fixture: &Fixture, queue: &str) -> Result<u32> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let channel = fixture.rpc.channel().await?;
    Ok(channel.queue_declare(queue.into(), passive, FieldTable::default()).await?.message_count())
}

/// RabbitMQ counts the prefetch per consumer. The agent is stopped meanwhile, because a running agent takes
/// its deliveries and requests no more.
///
/// Mutation: prefetch-of-each-queue (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn the_prefetch_is_divided_among_the_queues() -> Result<()> {
    let mut fixture =
        FixtureBuilder::default().in_memory(Options::default()).set("broker.prefetch", 16).up().await?;
    let (own, server) = (fixture.rpc.topic().to_owned(), format!("{}.{}", fixture.rpc.topic(), fixture.id));
    let channel = fixture.rpc.channel().await?;
    fixture.agent.signal(Signal::STOP)?;
    for number in 0..20 {
        let create = json!({"databases": [{"_name": fixture.name(&format!("db{number}"))}]});
        fixture.rpc.cast(&Request::new("create_database", create.clone())).await?;
        let (body, none) =
            (fixture.rpc.encode_cast(&Request::new("create_database", create)).body, "".into());
        let options = BasicPublishOptions::default();
        drop(channel.basic_publish(none, server.as_str().into(), options, &body, properties()).await?);
    }
    until("the broker hands out 14 and 1", async || {
        Ok(ready(&fixture, &own).await? == 6 && ready(&fixture, &server).await? == 19)
    })
    .await?;
    fixture.agent.signal(Signal::CONT)?;
    until("what was left is handed out", async || {
        Ok(ready(&fixture, &own).await? == 0 && ready(&fixture, &server).await? == 0)
    })
    .await
}
