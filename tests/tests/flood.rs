//! A flood of 100,000 messages, in a binary of its own: beside it other tests would run out of time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use anyhow::Result;
use in_memory_couchdb::Options;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::ConductorCast;
use trove_couchdb_tests::bus::{CallError, Message, Request};
use trove_couchdb_tests::stage::{Plan, Stage};

const MESSAGES: usize = 100_000;
/// So many at a time go to the broker before it is asked whether it has them.
const BATCH: usize = 1_000;

/// One of the flood: commands, reads, methods that nobody knows, garbage, and the same message again.
fn flooding(stage: &Stage, number: usize, last: &mut Message) -> Vec<u8> {
    let call = |method: &str, args: Value| stage.bus.encode_call(&Request::new(method, args));
    let cast = |method: &str, args: Value| stage.bus.encode_cast(&Request::new(method, args));
    let message = match number % 8 {
        0 => cast("rpc_ping", json!({})),
        1 => call("rpc_ping", json!({})),
        2 => cast("no_such_method", json!({"number": number})),
        3 => call("no_such_method", json!({"number": number})),
        4 => call("get_user", json!({"username": stage.name("nobody"), "hostname": "%"})),
        5 => cast(
            "create_database",
            json!({"databases": [{"_name": stage.name(&format!("db{}", number % 5))}]}),
        ),
        6 => return format!("{{\"oslo.version\": \"2.0\", \"oslo.message\": {number}").into_bytes(),
        _ => return last.body.clone(),
    };
    *last = message;
    last.body.clone()
}

async fn flood(stage: &Stage) -> Result<()> {
    let channel = stage.bus.channel().await?;
    let mut last = stage.bus.encode_cast(&Request::new("rpc_ping", json!({})));
    for number in 0..MESSAGES {
        let body = flooding(stage, number, &mut last);
        let (exchange, topic) = (stage.exchange().into(), stage.bus.topic().into());
        let properties = trove_couchdb_agent::transport::properties();
        drop(
            channel.basic_publish(exchange, topic, BasicPublishOptions::default(), &body, properties).await?,
        );
        if number % BATCH == BATCH - 1 {
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(stage.bus.topic().into(), passive, FieldTable::default()).await?;
        }
    }
    Ok(())
}

/// The longest time without a heartbeat, and how many there were.
async fn heartbeats(stage: &Stage) -> (Duration, usize) {
    let beats = || {
        let received = stage.conductor.received();
        received.iter().filter(|cast| matches!(cast, ConductorCast::Heartbeat { .. })).count()
    };
    let (mut known, mut since, mut longest) = (beats(), Instant::now(), Duration::ZERO);
    let first = known;
    while !stage.agent.logs().contains("the flood is over") {
        tokio::time::sleep(Duration::from_millis(200)).await;
        longest = longest.max(since.elapsed());
        let now = beats();
        if now > known {
            (known, since) = (now, Instant::now());
        }
    }
    (longest, known - first)
}

/// What waits, waits in the broker. Trove takes a guest for dead after a minute without a heartbeat
/// (`agent_heartbeat_expiry`); here one comes every second.
///
/// Mutation: without the branch of the heartbeats in `Session::serve` (`transport/session.rs`) none comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_100_000_messages_fits_into_memory_and_the_heart_beats() -> Result<()> {
    let plan = Plan::default().in_memory(Options::default());
    let stage = plan.set("log.filter", "warn").set("heartbeat.interval", 1).up().await?;
    let began = Instant::now();
    let flooded = async {
        flood(&stage).await?;
        // Behind everything else. Its name is in the log when it is refused.
        let over = Request::new("the flood is over", json!({})).timeout(Duration::from_secs(600));
        anyhow::Ok(stage.bus.request(&over).await)
    };
    let (answer, (longest, beats)) = tokio::join!(flooded, heartbeats(&stage));
    assert!(matches!(answer?, Err(CallError::Failure(_))), "the last of them is answered");
    let (took, peak) = (began.elapsed(), stage.agent.peak_rss_kib()? / 1024);
    println!("{MESSAGES} messages in {took:.0?}: {peak} MiB, {beats} heartbeats, {longest:.1?} without one");
    assert!(peak < 100, "{peak} MiB");
    assert!(longest < Duration::from_secs(15), "{longest:?} without a heartbeat");
    let listed = stage.call("list_databases", json!({})).await?.to_string();
    for number in 0..5 {
        assert!(listed.contains(&stage.name(&format!("db{number}"))), "{listed}");
    }
    Ok(())
}
