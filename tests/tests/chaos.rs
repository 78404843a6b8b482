//! A short fault campaign; `make chaos` runs the long one.
//!
//! The seed determines the plan, but not which requests the faults hit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use anyhow::Result;
use trove_couchdb_tests::faults::campaign::Campaign;
use trove_couchdb_tests::faults::plan::Size;
use trove_couchdb_tests::faults::replay::{Replayed, replay};
use trove_couchdb_tests::faults::schedule::parse;

async fn campaign(durable: bool, faults: usize, seed: u64) -> Result<()> {
    // A permanent directory, because it has the logs of failures.
    let directory =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../target/chaos/test-{seed}"));
    let size = Size { commands: 300, faults, guests: 2, alone: 3, lasting: false };
    let (report, _) = Campaign { seed, size, durable, replays: true, directory, soak: None }.run().await?;
    println!("{report}");
    assert_eq!(report.faults, faults, "a fault was not played");
    assert!(report.commands >= 300 && report.counts.done > 100, "{report}");
    assert!(report.passed(), "{report}");
    Ok(())
}

/// With durable queues nothing is lost or done twice.
///
/// Mutation: if messages are acknowledged before they run, as oslo.messaging does
/// (`transport/rpc/pipeline/run.rs`, `run`), three commands are lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_campaign() -> Result<()> {
    campaign(true, 15, 5).await
}

async fn replayed(schedule: &str) -> Result<Replayed> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("explore/schedules").join(schedule);
    let replayed = replay(&parse(&std::fs::read_to_string(file)?)?).await?;
    println!("{replayed}");
    assert_eq!(replayed.wrong, [""; 0], "{replayed}");
    Ok(replayed)
}

/// Each kind of event has its counterpart. Fails if one is only read, and does not happen.
#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_event_is_replayed() -> Result<()> {
    let replayed = replayed("each-kind.schedule").await?;
    let missed = replayed.steps.iter().find(|(_, what)| *what == "did not happen");
    assert_eq!(missed, None, "{replayed}");
    Ok(())
}

/// Replays the schedule by which a command once ran twice: the agent must not do what breaks the order.
///
/// Mutation: core-refused-write-is-enough (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_of_the_double_execution() -> Result<()> {
    let replayed = replayed("double-execution.schedule").await?;
    let waits = |(text, what): &(String, &str)| {
        text.contains("create_database a (delivery 2) begins") && *what == "did not happen"
    };
    assert!(replayed.steps.iter().any(waits), "the creation did not wait: {replayed}");
    Ok(())
}
