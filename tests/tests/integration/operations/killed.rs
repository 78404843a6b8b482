//! The agent is killed in each step of each kind of operation.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use trove_couchdb_protocol::trove::ServiceStatus;
use trove_couchdb_tests::fixture::Fixture;
use trove_couchdb_tests::strace::Strace;
use trove_couchdb_tests::until::until;

use super::{files, new_guest, operation, order, reported, requests, until_state};

/// The steps of a finished operation, from its log, so that the tests also cover steps added later.
fn steps(over: &Value) -> Vec<String> {
    let lines = over["log"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = lines.iter().filter_map(|line| line["text"].as_str());
    text.filter_map(|text| text.strip_prefix("step ").map(str::to_owned)).collect()
}

/// Whether, on disk, an unfinished operation is in this step.
fn is_in(fixture: &Fixture, step: &str) -> bool {
    let records = files(fixture).into_iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let mut records = records.filter_map(|text| serde_json::from_str::<Value>(&text).ok());
    records.any(|record| record["step"] == step && record["ended"].is_null())
}

/// Whether the operation has ended.
fn is_over(fixture: &Fixture) -> bool {
    let records = files(fixture).into_iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let mut records = records.filter_map(|text| serde_json::from_str::<Value>(&text).ok());
    records.any(|record| record["ended"].is_u64())
}

async fn begin(fixture: &Fixture, kind: &str) -> Result<()> {
    if kind == "prepare" {
        return fixture.rpc.cast(&order(fixture)).await.context("the order");
    }
    fixture.local().await?.call("operation_rehearse", json!({"seconds": 2})).await?;
    Ok(())
}

/// Whether the guest is recorded as prepared while its operation is unfinished.
fn is_prepared(fixture: &Fixture) -> bool {
    let file =
        std::fs::read_to_string(fixture.agent.directory().join("state/prepared.json")).unwrap_or_default();
    file.contains("\"prepared\":true") && is_in(fixture, "record")
}

/// Killed when `has_come` is first true, on a disk on which each replacement of a file takes a while: longer if a busy machine
/// saw that too late. `None`, said loudly, if the agent can't be traced.
async fn killed_when(kind: &str, what: &str, has_come: impl Fn(&Fixture) -> bool) -> Result<Option<()>> {
    for delay in [400, 1_600, 6_400].map(Duration::from_millis) {
        let mut fixture = new_guest().up().await?;
        let Some(_slow) = Strace::slow_renames(&fixture.agent, delay).await? else { return Ok(None) };
        begin(&fixture, kind).await?;
        until(what, async || Ok(has_come(&fixture) || is_over(&fixture))).await?;
        fixture.agent.kill9()?;
        if has_come(&fixture) {
            return finishes(fixture, kind, what).await.map(Some);
        }
    }
    anyhow::bail!("always too late for {what}")
}

/// The next agent finishes what the killed one had begun.
async fn finishes(mut fixture: Fixture, kind: &str, what: &str) -> Result<()> {
    assert_eq!(requests(&fixture).len(), 1, "{what}");
    fixture.agent.start_again()?;
    let over = until_state(&fixture, "succeeded").await?;
    assert_eq!(over["resumed"], 1, "{what}: {over}");
    until("the arguments gone", async || Ok(requests(&fixture).is_empty())).await?;
    if kind == "prepare" {
        reported(&fixture, ServiceStatus::Healthy).await?;
        assert!(fixture.user_document(&fixture.name("al")).await?.is_some(), "{what}");
    }
    assert_eq!(operation(&fixture).await?["kind"], kind);
    Ok(())
}

async fn kill_in_each_step(kind: &str, expected: &[&str]) -> Result<()> {
    let whole = new_guest().up().await?;
    begin(&whole, kind).await?;
    let steps = steps(&until_state(&whole, "succeeded").await?);
    assert_eq!(steps, expected);
    drop(whole);
    for step in &steps {
        let what = format!("step {step} on the disk");
        if killed_when(kind, &what, |fixture| is_in(fixture, step)).await?.is_none() {
            return Ok(());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn prepare_is_killed_in_each_step() -> Result<()> {
    kill_in_each_step(
        "prepare",
        &["check", "secure", "configuration", "databases", "users", "root", "record"],
    )
    .await
}

/// The guest is already prepared, but its operation does not record it yet.
#[tokio::test(flavor = "multi_thread")]
async fn prepare_is_killed_between_its_last_step_and_its_end() -> Result<()> {
    killed_when("prepare", "a prepared guest", is_prepared).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_is_killed_in_each_step() -> Result<()> {
    kill_in_each_step("operation_rehearse", &["begin", "work", "finish"]).await
}
