//! Waits for what a test can only look for.

use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::InMemoryCouch;

/// Only ends a hung test: ten times what anything takes on a machine that is ten times slower than usual.
pub const HUNG: Duration = Duration::from_secs(300);

/// Looks again and again; `what` is told if it does not come about.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let came_about = async {
        while !condition().await? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(HUNG, came_about).await.with_context(|| format!("not within {HUNG:?}: {what}"))?
}

/// Returns when a request has met one of the faults that were set.
pub async fn until_hit(couch: &InMemoryCouch) -> Result<()> {
    until("a request that meets the fault", async || Ok(couch.faults().hits() > 0)).await
}
