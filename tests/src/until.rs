//! Polls for conditions that give no notification.

use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::InMemoryCouch;

/// Only stops a hung test: ten times the longest wait on a machine that is ten times slower than usual.
pub const HUNG: Duration = Duration::from_secs(300);

/// Polls until `condition` holds; after [`HUNG`] the error names `what`.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let came_about = async {
        while !condition().await? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(HUNG, came_about).await.with_context(|| format!("not within {HUNG:?}: {what}"))?
}

/// Waits until a request has hit one of the configured faults.
pub async fn until_hit(couch: &InMemoryCouch) -> Result<()> {
    until("a request that meets the fault", async || Ok(couch.faults().hits() > 0)).await
}
