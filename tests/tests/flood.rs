//! A flood of messages, in its own binary because it would make other tests time out. `FLOOD=100000` sets the
//! number.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use in_memory_couchdb::Options;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::ConductorCast;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rpc::{CallError, Message, Request};

/// Far more than the agent may hold (`rpc.prefetch`).
const MESSAGES: usize = 20_000;
/// This many messages are sent before waiting for the broker's confirmations.
const BATCH: usize = 1_000;

/// One message of the flood: commands, reads, unknown methods, garbage, and duplicates.
fn flooding(fixture: &Fixture, number: usize, last: &mut Message) -> Vec<u8> {
    let call = |method: &str, args: Value| fixture.rpc.encode_call(&Request::new(method, args));
    let cast = |method: &str, args: Value| fixture.rpc.encode_cast(&Request::new(method, args));
    let message = match number % 8 {
        0 => cast("rpc_ping", json!({})),
        1 => call("rpc_ping", json!({})),
        2 => cast("no_such_method", json!({"number": number})),
        3 => call("no_such_method", json!({"number": number})),
        4 => call("get_user", json!({"username": fixture.name("nobody"), "hostname": "%"})),
        5 => cast(
            "create_database",
            json!({"databases": [{"_name": fixture.name(&format!("db{}", number % 5))}]}),
        ),
        6 => return format!("{{\"oslo.version\": \"2.0\", \"oslo.message\": {number}").into_bytes(),
        _ => return last.body.clone(),
    };
    *last = message;
    last.body.clone()
}

async fn flood(fixture: &Fixture, messages: usize) -> Result<()> {
    let channel = fixture.rpc.channel().await?;
    let mut last = fixture.rpc.encode_cast(&Request::new("rpc_ping", json!({})));
    for number in 0..messages {
        let body = flooding(fixture, number, &mut last);
        let (exchange, topic) = (fixture.exchange().into(), fixture.rpc.topic().into());
        let properties = trove_couchdb_guest::broker::properties();
        drop(
            channel.basic_publish(exchange, topic, BasicPublishOptions::default(), &body, properties).await?,
        );
        if number % BATCH == BATCH - 1 {
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(fixture.rpc.topic().into(), passive, FieldTable::default()).await?;
        }
    }
    Ok(())
}

/// The longest time without a heartbeat, and the number of heartbeats, until the flood is over.
async fn heartbeats(fixture: &Fixture, over: &AtomicBool) -> (Duration, usize) {
    let beats = || {
        let received = fixture.conductor.received();
        received.iter().filter(|cast| matches!(cast, ConductorCast::Heartbeat { .. })).count()
    };
    let (mut known, mut since, mut longest) = (beats(), Instant::now(), Duration::ZERO);
    let first = known;
    while !over.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        longest = longest.max(since.elapsed());
        let now = beats();
        if now > known {
            (known, since) = (now, Instant::now());
        }
    }
    (longest, known - first)
}

/// Waiting messages stay in the broker. Trove considers a guest dead after a minute without a heartbeat
/// (`agent_heartbeat_expiry`); here the interval is a second.
///
/// Mutation: without the branch for heartbeats in `Session::serve` (`transport/amqp/session.rs`) there are
/// none.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_fits_into_memory_and_the_heart_beats() -> Result<()> {
    let builder = FixtureBuilder::default().in_memory(Options::default());
    let fixture = builder.set("log.filter", "warn").set("heartbeat.interval", 1).up().await?;
    let messages = std::env::var("FLOOD").map_or(Ok(MESSAGES), |count| count.parse())?;
    let began = Instant::now();
    let flooded = async {
        flood(&fixture, messages).await?;
        // After all other messages.
        let last = Request::new("no_such_method", json!({})).timeout(Duration::from_secs(1_800));
        anyhow::Ok(fixture.rpc.request(&last).await)
    };
    let over = AtomicBool::new(false);
    let flooded = async {
        let answer = flooded.await;
        over.store(true, Ordering::Relaxed);
        answer
    };
    let (answer, (longest, beats)) = tokio::join!(flooded, heartbeats(&fixture, &over));
    assert!(matches!(answer?, Err(CallError::Failure(_))), "the last of them is answered");
    let (took, peak) = (began.elapsed(), fixture.agent.peak_rss_kib()? / 1024);
    println!("{messages} messages in {took:.0?}: {peak} MiB, {beats} heartbeats, {longest:.1?} without one");
    assert!(peak < 100, "{peak} MiB");
    assert!(beats >= 3, "{beats} heartbeats");
    let listed = fixture.call("list_databases", json!({})).await?.to_string();
    for number in 0..5 {
        assert!(listed.contains(&fixture.name(&format!("db{number}"))), "{listed}");
    }
    Ok(())
}
