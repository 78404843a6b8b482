//! Watches the free space for CouchDB's databases: warns, and compacts where that gains most, before the
//! disk is full.
//!
//! ```text
//! statvfs, every room.interval -> warn below warn_free_percent
//!                              -> compact below compact_free_percent -> RoomReport -> status, metrics
//! ```
//!
//! It deletes nothing. One compaction runs at a time, and none is started while CouchDB runs one, because a
//! compaction needs space before it frees some. CouchDB confirms a compaction even if it can't work, so the
//! size is read again afterwards.

mod choice;
mod report;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time};
use tracing::{debug, info, warn};
use trove_couchdb_config::RoomSettings;

use crate::couch::{Couch, CouchError, DatabaseSize, DiskUse, ListedDatabase, Survey};

use choice::{Best, Limits, Tried};
pub use report::{Last, RoomReport};

/// The pause between two pages of a survey, so that opening all databases does not displace the users' load.
const PAGE_PAUSE: Duration = Duration::from_millis(200);

/// The pause between two requests for the progress of a compaction.
const POLL: Duration = Duration::from_secs(1);

/// How soon to look again for a CouchDB that did not answer yet.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(1);

/// The time after which the agent no longer waits for a compaction, which may still finish.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// The pause after an attempt without success.
const NOTHING_PAUSE: Duration = Duration::from_secs(600);

/// The task that watches the free space.
#[derive(Debug)]
pub struct Room {
    couch: Arc<Couch>,
    settings: RoomSettings,
    report: watch::Sender<RoomReport>,
    tried: Tried,
    /// When the last attempt failed or found nothing to compact.
    nothing_since: Option<Instant>,
}

impl Room {
    /// The task, and its reports.
    pub fn new(couch: Arc<Couch>, settings: RoomSettings) -> (Self, watch::Receiver<RoomReport>) {
        let (report, reports) = watch::channel(RoomReport::default());
        (Self { couch, settings, report, tried: Tried::default(), nothing_since: None }, reports)
    }

    /// Watches forever.
    pub async fn run(mut self) {
        loop {
            // Set by a health check that succeeded. Before it, a request could be one with a refused login.
            if self.couch.known_version().is_none() {
                time::sleep(self.settings.interval.min(UNKNOWN_PAUSE)).await;
                continue;
            }
            if let Some(disk) = self.look().await
                && disk.free_percent() < u64::from(self.settings.compact_free_percent)
            {
                self.make_room().await;
            }
            time::sleep(self.settings.interval).await;
        }
    }

    /// Publishes the free space, and returns it if the agent can see it.
    async fn look(&self) -> Option<DiskUse> {
        let disk = self.couch.disk_use().await;
        let threshold = u64::from(self.settings.warn_free_percent);
        let is_low = disk.as_ref().is_some_and(|disk| disk.free_percent() < threshold);
        let was_low = self.report.borrow().is_low;
        if let Some(disk) = &disk
            && is_low != was_low
        {
            let (path, percent, free_mib) = (disk.path.display(), disk.free_percent(), disk.free >> 20);
            if is_low {
                warn!(%path, percent, free_mib, "The file system of CouchDB's databases is filling up.");
            } else {
                info!(%path, percent, free_mib, "The file system of CouchDB's databases has room again.");
            }
        }
        self.report.send_if_modified(|report| report.see(disk.clone(), is_low));
        disk
    }

    /// Compacts the databases that gain most, one after the other, until there is room.
    async fn make_room(&mut self) {
        if self.nothing_since.is_some_and(|since| since.elapsed() < NOTHING_PAUSE) {
            return;
        }
        match self.compact_best().await {
            Ok(true) => {}
            Ok(false) => {
                self.nothing_since = Some(Instant::now());
                self.report.send_modify(RoomReport::nothing_to_gain);
            }
            Err(error) => {
                // CouchDB is down, or does not know the requests (1.x, 2.0 and 2.1).
                self.nothing_since = Some(Instant::now());
                debug!(%error, "No database could be compacted.");
            }
        }
    }

    /// Returns false if no compaction helps.
    async fn compact_best(&mut self) -> Result<bool, CouchError> {
        // A compaction that runs already needs the space, and may free enough.
        if self.couch.compactions_running().await? > 0 {
            return Ok(true);
        }
        let mut has_freed = false;
        for database in self.choose().await? {
            let Some(disk) = self.look().await else { return Ok(true) };
            if disk.free_percent() >= u64::from(self.settings.compact_free_percent) {
                return Ok(true);
            }
            let before = self.couch.database_size(&database).await?;
            if !self.limits().allow(disk.free, &before) {
                continue;
            }
            self.tried.note(&database, Instant::now());
            let name = database.as_str();
            info!(
                database = name,
                gain_mib = before.gain() >> 20,
                "Compacting a database, as the disk is filling up."
            );
            self.report.send_modify(|report| report.compacting = Some(name.to_owned()));
            let after = self.compact(&database).await;
            self.report.send_modify(|report| report.compacting = None);
            let freed = before.file.saturating_sub(after?.file);
            self.report.send_modify(|report| report.compacted(freed));
            if freed == 0 {
                warn!(database = name, "The compaction of a database has freed nothing; see CouchDB's log.");
                return Ok(has_freed);
            }
            info!(database = name, freed_mib = freed >> 20, "A database was compacted.");
            has_freed = true;
        }
        self.look().await;
        Ok(has_freed)
    }

    fn limits(&self) -> Limits {
        Limits { min_gain: self.settings.compact_min_gain_mib << 20 }
    }

    /// The databases to compact, the largest gain first. Reads the sizes of all databases, slowly.
    async fn choose(&self) -> Result<Vec<ListedDatabase>, CouchError> {
        let Some(disk) = self.couch.disk_use().await else { return Ok(Vec::new()) };
        let (mut best, mut survey, now) = (Best::default(), Survey::default(), Instant::now());
        loop {
            let page = self.couch.survey(&mut survey).await?;
            for (database, size) in page.databases {
                if self.limits().allow(disk.free, &size) && !self.tried.is_recent(&database, now) {
                    best.add(database, size.gain());
                }
            }
            if page.totals.is_some() {
                return Ok(best.sorted());
            }
            time::sleep(PAGE_PAUSE).await;
        }
    }

    /// Compacts a database and returns its size afterwards.
    async fn compact(&self, database: &ListedDatabase) -> Result<DatabaseSize, CouchError> {
        self.couch.compact(database).await?;
        let began = Instant::now();
        loop {
            time::sleep(POLL).await;
            let size = self.couch.database_size(database).await?;
            if !size.is_compacting || began.elapsed() >= LONGEST {
                return Ok(size);
            }
        }
    }
}
