//! Waits for what a test can only look for.

use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::InMemoryCouch;

/// Of a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again; `what` is told if it does not come about.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let came_about = async {
        while !condition().await? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, came_about)
        .await
        .with_context(|| format!("not within {PATIENCE:?}: {what}"))?
}

/// Returns when a request has met one of the faults that were set.
pub async fn until_hit(couch: &InMemoryCouch) -> Result<()> {
    until("a request that meets the fault", async || Ok(couch.faults().hits() > 0)).await
}
