//! A short fault campaign; the long one is `make chaos`.
//!
//! The plan is the seed's; what the faults hit is not, as with any fault.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use anyhow::Result;
use trove_couchdb_tests::faults::campaign::Campaign;
use trove_couchdb_tests::faults::plan::Size;

async fn campaign(durable: bool, faults: usize, seed: u64) -> Result<()> {
    // A directory that stays: it holds the logs of what went wrong.
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

/// Nothing is lost or done twice with durable queues.
///
/// Mutation: with an acknowledgement before the run, as oslo.messaging does it (`transport/pipeline/run.rs`, `run`), three
/// commands are lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_campaign() -> Result<()> {
    campaign(true, 15, 5).await
}
