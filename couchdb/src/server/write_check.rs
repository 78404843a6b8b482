//! Checks that CouchDB can write: reads, logins and `_up` work as usual on a full disk or on files that can't
//! be opened.
//!
//! The check writes one `_local` document to `_users`. Such documents are not replicated, appear in no list
//! and leave `update_seq` and `_changes` as they are. Each write takes CouchDB a few milliseconds and adds 4 KiB to the file of `_users` until
//! its next compaction, so it runs at a lower rate than the other checks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    Couch, CouchError, Resource,
    server::health::{Degraded, Health, Impairment},
};

/// When to check, and the last result.
#[derive(Debug)]
pub(crate) struct WriteCheck {
    every: Duration,
    last: Mutex<Option<Last>>,
}

#[derive(Debug)]
struct Last {
    at: Instant,
    failed: bool,
}

impl WriteCheck {
    /// A check that runs at this interval, and again at once after a failure.
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, last: Mutex::default() }
    }
}

impl Couch {
    /// Checks at this interval with [`Couch::health`] that CouchDB can write. Without it health only reads.
    #[must_use]
    pub fn checking_writes(mut self, every: Duration) -> Self {
        self.write_check = (!every.is_zero()).then(|| WriteCheck::new(every));
        self
    }

    /// Runs the check if it is due. Returns the health if CouchDB can't write or does not answer.
    pub(crate) async fn check_writing(&self) -> Result<(), Health> {
        let Some(check) = &self.write_check else { return Ok(()) };
        let mut last = check.last.lock().await;
        let is_due = last.as_ref().is_none_or(|last| last.failed || last.at.elapsed() >= check.every);
        if !is_due {
            return Ok(());
        }
        let at = Instant::now();
        let written = self.write_once().await;
        *last = Some(Last { at, failed: written.is_err() });
        let Err(error) = written else { return Ok(()) };
        Err(match self.health_after(&error) {
            // CouchDB answered, so Trove must be able to send the commands that free space.
            Health::Failing(_) => Health::Degraded(self.why_not_written(error).await),
            other => other,
        })
    }

    async fn why_not_written(&self, error: CouchError) -> Degraded {
        if let Some(disk) = self.full_disk().await {
            return Degraded { by: Impairment::DiskFull, reason: disk.to_string() };
        }
        match self.impairment(&error).await {
            Some(degraded) => degraded,
            None => Degraded {
                by: Impairment::NoWrites,
                reason: format!("CouchDB can't write to _users: {error}"),
            },
        }
    }

    /// 1.x requires the revision of the document that is replaced; later versions overwrite it.
    async fn write_once(&self) -> Result<(), CouchError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut document = json!({"about": "trove-couchdb-agent checks that CouchDB can write", "at": now});
        match self.put(&Resource::WriteCheck, &document).await {
            Err(CouchError::Conflict) => {
                let found = self.get(&Resource::WriteCheck).await?;
                document["_rev"] = found["_rev"].clone();
                match self.put(&Resource::WriteCheck, &document).await {
                    // A concurrent check of a different agent has written it.
                    Ok(_) | Err(CouchError::Conflict) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            answer => answer.map(|_: Value| ()),
        }
    }
}
