//! Calls that waited while the agent was not running or was paused. The broker's clock decides which callers
//! still wait.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::join_all;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::json;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::process::Signal;
use trove_couchdb_tests::rpc::{Message, Request};

/// Only stops a hung test.
const LIMIT: Duration = Duration::from_secs(300);

fn create(fixture: &Fixture, name: &str, caller_waits: Duration) -> Message {
    let args = json!({"databases": [{"_name": fixture.name(name)}]});
    fixture.rpc.encode_call(&Request::new("create_database", args).timeout(caller_waits))
}

async fn databases(fixture: &Fixture) -> Result<String> {
    let list = Request::new("list_databases", json!({})).timeout(LIMIT);
    Ok(fixture.rpc.request(&list).await?.to_string())
}

/// The process is paused, as by a live migration, for longer than four callers wait. The broker has delivered
/// their messages meanwhile, because the kernel kept running. A fifth caller waits long enough, and a cast
/// has no waiting caller.
///
/// Mutation: a-pause-is-no-time (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn calls_whose_callers_gave_up_while_the_process_stood_still_are_not_run() -> Result<()> {
    let mut fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    // The agent consumes its queue.
    databases(&fixture).await?;
    fixture.agent.signal(Signal::STOP)?;
    for number in 0..4 {
        fixture.rpc.send(&create(&fixture, &format!("gone{number}"), Duration::from_secs(2))).await?;
    }
    let patient = create(&fixture, "patient", LIMIT);
    let answer = fixture.rpc.expect_reply(&patient);
    fixture.rpc.send(&patient).await?;
    let cast = json!({"databases": [{"_name": fixture.name("cast")}]});
    fixture.rpc.cast(&Request::new("create_database", cast)).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    fixture.agent.signal(Signal::CONT)?;
    answer.within(LIMIT).await?;
    let there = databases(&fixture).await?;
    assert!(there.contains(&fixture.name("patient")) && there.contains(&fixture.name("cast")), "{there}");
    assert!(!there.contains("gone"), "{there}");
    Ok(())
}

/// A call that was received before the pause and waits for a lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_its_lock_grows_old_while_the_process_stands_still() -> Result<()> {
    let mut fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let db = fixture.name("db");
    fixture.databases(&[&db]).await?;
    fixture.memory()?.faults().add(Rule::new("DELETE", &format!("/{db}"), Fault::Hang).times(1));
    let delete = Request::new("delete_database", json!({"database": {"_name": db}})).timeout(LIMIT);
    let delete = fixture.rpc.encode_call(&delete);
    let deleted = fixture.rpc.expect_reply(&delete);
    fixture.rpc.send(&delete).await?;
    trove_couchdb_tests::until::until_hit(fixture.memory()?).await?;
    fixture.rpc.send(&create(&fixture, "db", Duration::from_secs(3))).await?;
    // Answered after it, so the agent has received it.
    fixture.rpc.request(&Request::new("rpc_ping", json!({})).timeout(LIMIT)).await?;
    fixture.agent.signal(Signal::STOP)?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    fixture.memory()?.faults().clear();
    tokio::time::sleep(Duration::from_millis(300)).await;
    fixture.agent.signal(Signal::CONT)?;
    deleted.within(LIMIT).await?;
    assert!(!databases(&fixture).await?.contains(&db));
    Ok(())
}

/// Ten calls on one database wait in the broker while the agent starts. Each takes a while, and all callers
/// wait long enough: none is refused.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_of_a_backlog_is_refused_while_its_caller_waits() -> Result<()> {
    let mut fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[]).await?;
    fixture.agent.terminate().await?;
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{db}/_security"), Fault::DelayMs(400)));
    let mut answers = Vec::new();
    for number in 0..10 {
        let method = if number % 2 == 0 { "grant_access" } else { "revoke_access" };
        let args = if number % 2 == 0 {
            json!({"username": al, "hostname": "%", "databases": [db]})
        } else {
            json!({"username": al, "hostname": "%", "database": db})
        };
        let message = fixture.rpc.encode_call(&Request::new(method, args).timeout(LIMIT));
        answers.push(fixture.rpc.expect_reply(&message));
        fixture.rpc.send(&message).await?;
    }
    let began = Instant::now();
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    for answer in join_all(answers.into_iter().map(|answer| answer.within(LIMIT))).await {
        answer?;
    }
    assert!(began.elapsed() >= Duration::from_secs(4), "they did not wait for each other");
    Ok(())
}
