//! Operations whose agent runs out of disk space or file descriptors.

use std::process::Command;

use anyhow::{Context, Result};
use in_memory_couchdb::{Fault, Rule};
use trove_couchdb_protocol::trove::ServiceStatus;
use trove_couchdb_tests::fixture::Fixture;
use trove_couchdb_tests::until::{HUNG, until_hit};

use super::{ends, new_guest, order, requests, told, until_state};
use trove_couchdb_tests::disk::Disk;

/// Orders an instance and waits for the request of its step `databases`, which CouchDB answers later.
async fn until_databases(fixture: &Fixture) -> Result<()> {
    let slow = Fault::DelayMs(3_000);
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{}", fixture.name("db")), slow).times(1));
    fixture.bus.cast(&order(fixture)).await.context("the order")?;
    until_hit(fixture.memory()?).await
}

/// The operation continues in memory. But the guest must not be reported as prepared before that is on the
/// disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_state_directory_ends_prepare_with_its_reason_and_the_next_one_goes_well() -> Result<()> {
    let Some(disk) = Disk::of_mib(1)? else { return Ok(()) };
    let fixture = new_guest().set("guest.state_dir", disk.path().display().to_string()).up().await?;
    until_databases(&fixture).await?;
    disk.fill();
    told(&fixture, ServiceStatus::FailedToSpawn).await?;
    fixture.agent.wait_log("How far an operation is can't be written down", HUNG).await?;
    std::fs::remove_file(disk.filling())?;
    let over = until_state(&fixture, "failed").await?;
    let reason = over["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("state directory can't be written"), "{over}");
    assert!(
        matches!(&ends(&fixture)[..], [Err(message)] if message.contains("state directory")),
        "{:?}",
        ends(&fixture)
    );

    fixture.bus.cast(&order(&fixture)).await?;
    told(&fixture, ServiceStatus::Healthy).await
}

/// Sets `RLIMIT_NOFILE` of a running process.
fn limit_files(pid: u32, limit: &str) -> Result<()> {
    let set =
        Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={limit}")]).output()?;
    anyhow::ensure!(set.status.success(), "prlimit: {}", String::from_utf8_lossy(&set.stderr));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_file_descriptors_prepare_waits_and_goes_on() -> Result<()> {
    let fixture = new_guest().up().await?;
    until_databases(&fixture).await?;
    // From now on the agent cannot open another file.
    limit_files(fixture.agent.pid(), "4:1024")?;
    fixture.agent.wait_log("Too many open files", HUNG).await?;
    limit_files(fixture.agent.pid(), "1024:1024")?;
    told(&fixture, ServiceStatus::Healthy).await?;
    until_state(&fixture, "succeeded").await?;
    assert_eq!(ends(&fixture), [Ok(())]);
    assert!(requests(&fixture).is_empty());
    Ok(())
}
