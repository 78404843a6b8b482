//! Replies that cannot be delivered unchanged: to queues that are declared late, in large numbers, too large
//! for the broker, or refused by it.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use in_memory_couchdb::Options;
use lapin::Channel;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Map, Value, json};
use tokio::process::Command;
use tokio::time::Instant;
use trove_couchdb_protocol::trove::ConductorCast;
use trove_couchdb_protocol::{Cipher, Context, NewRequest, ReplyAddress, Secret, decode_reply, new_id};
use trove_couchdb_tests::couch::Method;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rabbitmq::RabbitNode;
use trove_couchdb_tests::rpc::{CallError, Request, notification};

const SOON: Duration = trove_couchdb_tests::until::HUNG;

/// A call with this reply queue.
fn call(method: &str, queue: &str, cipher: Option<&Cipher>) -> Vec<u8> {
    let mut request = NewRequest::new(method, Map::new(), Context::default());
    request.call = Some(ReplyAddress { msg_id: new_id(), reply_queue: queue.try_into().unwrap() });
    request.encode(cipher)
}

/// Creates this many users with long names, none of whom can log in.
async fn users(fixture: &Fixture, number: usize) -> Result<()> {
    let user = |number: usize| {
        let name = format!("{number:08}{}", "x".repeat(240));
        json!({
            "_id": format!("org.couchdb.user:{name}"), "name": name, "type": "user", "roles": [],
            "password_scheme": "pbkdf2", "iterations": 10, "salt": "00", "derived_key": "00",
        })
    };
    let path = "/_users/_bulk_docs";
    for from in (0..number).step_by(1000) {
        let docs: Vec<Value> = (from..number.min(from + 1000)).map(user).collect();
        let body = json!({"docs": docs});
        let (status, body) =
            fixture.client.request(Method::POST, path, Some(fixture.couch.admin()), Some(&body)).await?;
        ensure!(status.is_success(), "{status} {body}");
    }
    Ok(())
}

async fn declare(channel: &Channel, queue: &str) -> Result<()> {
    channel.queue_declare(queue.into(), QueueDeclareOptions::default(), FieldTable::default()).await?;
    Ok(())
}

/// The number of replies in a queue, as soon as `wanted` have arrived or `SOON` has passed.
async fn answered(channel: &Channel, queue: &str, wanted: usize, cipher: Option<&Cipher>) -> Result<usize> {
    let (mut found, deadline) = (HashSet::new(), Instant::now() + SOON);
    while found.len() < wanted && Instant::now() < deadline {
        match channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await? {
            Some(got) => {
                if let Ok(reply) = decode_reply(&got.delivery.data, cipher) {
                    found.insert(reply.msg_id);
                }
            }
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    Ok(found.len())
}

/// lapin reports a returned message with the next confirmation, here those of replies to invalid messages,
/// which have no waiting caller, and of heartbeats.
///
/// Mutation: if `publisher/queue.rs` (`came_back`) drops a message that is returned with the confirmation of
/// such a reply, several replies are lost.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_lost_in_the_confirmation_of_another_message() -> Result<()> {
    const CALLS: usize = 240;
    let fixture = FixtureBuilder::default().encrypted().set("heartbeat.interval", 1).up().await?;
    let cipher = Cipher::new(&Secret::new(fixture.key.as_deref().context("encrypted")?));
    let late = format!("reply_{}", new_id());
    for _ in 0..CALLS {
        fixture.rpc.publish_raw(&call("rpc_ping", &late, Some(&cipher))).await?;
        // In clear, to a queue with a consumer.
        for _ in 0..3 {
            fixture.rpc.publish_raw(&call("rpc_ping", fixture.rpc.reply_queue(), None)).await?;
        }
    }
    fixture.call("rpc_ping", json!({})).await?;
    let channel = fixture.rpc.channel().await?;
    declare(&channel, &late).await?;
    assert_eq!(answered(&channel, &late, CALLS, Some(&cipher)).await?, CALLS);
    Ok(())
}

/// Each reply is over 2 MB, which is too much to keep all of them.
///
/// Mutation: without a limit on size (`transport/amqp/publisher/budget.rs`, `take`) this takes over 512 MiB,
/// and the unit's `MemoryMax` kills the agent.
#[tokio::test(flavor = "multi_thread")]
async fn large_answers_that_are_not_fetched_fit_into_memory() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    users(&fixture, 8_000).await?;
    for _ in 0..200 {
        fixture.rpc.publish_raw(&call("list_users", &format!("reply_{}", new_id()), None)).await?;
    }
    fixture.agent.wait_log("too many others wait for theirs", 4 * SOON).await?;
    let last = Request::new("list_users", json!({"limit": 1})).timeout(4 * SOON);
    while fixture.rpc.request(&last).await.is_err() {}
    let peak = fixture.agent.peak_rss_kib()? / 1024;
    println!("{peak} MiB");
    assert!(peak < 400, "{peak} MiB");
    Ok(())
}

fn sessions(fixture: &Fixture) -> usize {
    fixture.agent.logs().matches("Consuming.").count()
}

/// Mutation: without `otherwise` (`transport/rpc/answer.rs`) the caller gets no reply; if every closed
/// channel counts as a lost connection (`publisher/closure.rs`, `leaves_the_connection`), the consumers are
/// cancelled again and again.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_finds_too_large_is_said_shorter_or_dropped() -> Result<()> {
    let node = RabbitNode::start_with(|usual| format!("{usual}max_message_size = 80000\n")).await?;
    let fixture = FixtureBuilder::default().up_on(&node).await?;
    users(&fixture, 400).await?;
    match fixture.call("list_users", json!({})).await {
        Err(CallError::Failure(failure)) => {
            assert_eq!(failure.class, "AnswerTooLarge", "{}", failure.message);
            assert!(failure.message.contains("max_message_size"), "{}", failure.message);
        }
        other => panic!("{other:?}"),
    }
    fixture.call("list_users", json!({"limit": 20})).await?;

    // The report of a cast's result contains its notification twice.
    let mut end = notification(&fixture.id, "create_database");
    end["padding"] = "x".repeat(45_000).into();
    let (large, small) = (fixture.name("large"), fixture.name("small"));
    let create = |name: &str| Request::new("create_database", json!({"databases": [{"_name": name}]}));
    fixture.rpc.cast(&create(&large).notified(end)).await?;
    fixture
        .agent
        .wait_log("refuses a message, also alone, as too large perhaps; it is dropped", SOON)
        .await?;
    let end = notification(&fixture.id, "create_database");
    fixture.rpc.cast(&create(&small).notified(end.clone())).await?;
    let is_the_end = |cast: &ConductorCast| matches!(cast, ConductorCast::NotifyEnd { notification } if notification["request_id"] == end["request_id"]);
    fixture.conductor.next(SOON, is_the_end).await?;
    let listed = fixture.call("list_databases", json!({})).await?.to_string();
    assert!(listed.contains(&large) && listed.contains(&small), "{listed}");
    assert_eq!(sessions(&fixture), 1, "{}", fixture.agent.logs());
    Ok(())
}

/// An account that may write to Trove's exchange but not to reply queues: reports reach the conductor, the
/// consumers stay, and a reply is delivered as soon as the permissions are repaired.
///
/// Mutation: if every closed channel counts as a lost connection (`publisher/closure.rs`,
/// `leaves_the_connection`), the consumers are cancelled again and again.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_answer_serves_all_the_same() -> Result<()> {
    let node = RabbitNode::start().await?;
    let fixture = FixtureBuilder::default().up_on(&node).await?;
    let rabbitmqctl = node.rabbitmqctl()?.join("rabbitmqctl");
    let may_write_to = async |pattern: &str| {
        let permissions = ["set_permissions", "trove", ".*", pattern, ".*"];
        let output = Command::new(&rabbitmqctl).args(permissions).output().await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        anyhow::Ok(())
    };
    may_write_to(r"^(?!amq\.default$)").await?;
    let ping = fixture.rpc.encode_call(&Request::new("rpc_ping", json!({})));
    let answer = fixture.rpc.expect_reply(&ping);
    fixture.rpc.send(&ping).await?;
    fixture.agent.wait_log("The broker does not let this account write", SOON).await?;
    let (db, end) = (fixture.name("db"), notification(&fixture.id, "create_database"));
    let create = Request::new("create_database", json!({"databases": [{"_name": db}]}));
    fixture.rpc.cast(&create.notified(end.clone())).await?;
    let is_the_end = |cast: &ConductorCast| matches!(cast, ConductorCast::NotifyEnd { notification } if notification["request_id"] == end["request_id"]);
    fixture.conductor.next(SOON, is_the_end).await?;
    may_write_to(".*").await?;
    assert_eq!(answer.within(SOON).await?, true);
    assert_eq!(sessions(&fixture), 1, "{}", fixture.agent.logs());
    Ok(())
}
