//! Reply queues that refuse replies: declared by a tenant with its own account, to make this agent wait.

use std::time::Duration;

use anyhow::Result;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::json;
use trove_couchdb_protocol::{new_id, trove::ConductorCast};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};

const SOON: Duration = trove_couchdb_tests::until::HUNG;

/// More than the broker delivers at once (`broker.prefetch`).
const MANY: usize = 200;

/// A full queue that refuses messages.
async fn full_queue(fixture: &Fixture) -> Result<String> {
    let queue = format!("guestagent.{}", new_id());
    let channel = fixture.rpc.channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert(ShortString::from("x-max-length"), AMQPValue::LongInt(1));
    arguments.insert(ShortString::from("x-overflow"), AMQPValue::LongString("reject-publish".into()));
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::default(), arguments).await?;
    let (options, properties) = (BasicPublishOptions::default(), trove_couchdb_guest::broker::properties());
    drop(channel.basic_publish("".into(), queue.as_str().into(), options, b"full", properties).await?);
    Ok(queue)
}

/// Unencrypted, even if the agent has a key.
async fn calls_answered_to(fixture: &Fixture, queue: &str) -> Result<()> {
    for _ in 0..MANY {
        let message = json!({
            "method": "rpc_ping", "args": {}, "version": "1.0", "_unique_id": new_id(), "_msg_id": new_id(),
            "_reply_q": queue,
        });
        let body = json!({"oslo.version": "2.0", "oslo.message": message.to_string()});
        fixture.rpc.publish_raw(body.to_string().as_bytes()).await?;
    }
    Ok(())
}

async fn serves(fixture: &Fixture) -> Result<()> {
    let served = async {
        // A call that waited too long in the agent is refused; a later call succeeds.
        while fixture.call("list_databases", json!({"limit": 1})).await.is_err() {}
    };
    Ok(tokio::time::timeout(SOON, served).await?)
}

/// Mutation: if refused replies are retried forever (`publisher/queue.rs`), the agent stops answering.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_reply_queue_blocks_no_other_caller() -> Result<()> {
    for encrypted in [true, false] {
        let mut builder = FixtureBuilder::default().set("heartbeat.interval", 1);
        if encrypted {
            builder = builder.encrypted();
        }
        let fixture = builder.up().await?;
        let queue = full_queue(&fixture).await?;
        calls_answered_to(&fixture, &queue).await?;
        serves(&fixture).await?;
        fixture.conductor.next(SOON, |cast| matches!(cast, ConductorCast::Heartbeat { .. })).await?;
    }
    Ok(())
}

/// With a key, replies to unauthenticated senders do not displace replies that a caller waits for.
///
/// Mutation: if refusals of unauthenticated senders are delivered like other replies
/// (`transport/rpc/pipeline/refuse.rs`, `reject`), the report of the result is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn answers_to_strangers_take_no_place() -> Result<()> {
    let fixture = FixtureBuilder::default().encrypted().up().await?;
    for _ in 0..2 {
        calls_answered_to(&fixture, &format!("reply_{}", new_id())).await?;
    }
    serves(&fixture).await?;
    let logs = fixture.agent.logs();
    assert!(!logs.contains("too many others wait"), "{logs}");
    Ok(())
}
