//! Operations: commands that may take hours, and that continue without their message.
//!
//! ```text
//! lock acquired ───► take_over: request and record on the disk ──► the message is answered and acknowledged
//!                                    │
//!                                    ▼
//!                    Operation: enter(step), progress, … ──► end ──► reported
//!                                    ▲
//!            a new agent: load ──────┘ every record whose end was not reported
//! ```
//!
//! The delivery core (`delivery/src/operation.rs`) decides when an operation is handed over, runs, ends and
//! is reported; this module stores what must survive the agent. A command declares itself long, and reports
//! its steps to its [`Operation`]. When it is cancelled, or the agent stops, it is aborted wherever it is.
//! Like every command, it can run again from the start.

mod id;
mod record;
mod store;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use trove_couchdb_config::OperationSettings;
use trove_couchdb_delivery::Cancellation;
use trove_couchdb_protocol::{OperationId, SecretMap};

use crate::system;
pub use id::of_command;
pub use record::{End, Giver, NewOperation, OperationRecord, Progress};
use store::Store;

/// How often progress is written to the disk; steps are written at once.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// All known operations: those that are running, and the last that ended.
#[derive(Debug, Clone)]
pub struct Operations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Lock this before `known`, never after it.
    store: Mutex<Store>,
    known: Mutex<BTreeMap<OperationId, Known>>,
    settings: OperationSettings,
}

#[derive(Debug)]
struct Known {
    record: OperationRecord,
    cancellation: Cancellation,
    cancelled: CancellationToken,
    saved: Instant,
}

impl Known {
    fn new(record: OperationRecord) -> Self {
        let (cancellation, cancelled) = (Cancellation::default(), CancellationToken::new());
        Self { record, cancellation, cancelled, saved: Instant::now() }
    }
}

/// Why an operation can't be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCancelled {
    /// No operation has this id.
    Unknown,
    /// It has ended.
    Over,
}

impl Operations {
    /// Reads what an earlier agent stored. Blocks while it reads some small files.
    pub fn load(state_dir: &Path, settings: OperationSettings) -> Self {
        let store = Store::new(state_dir);
        let known = |record: OperationRecord| {
            let mut known = Known::new(record);
            if known.record.is_cancelled {
                known.cancellation.ask();
                known.cancelled.cancel();
            }
            (known.record.id.clone(), known)
        };
        let known = store.load().into_iter().map(known).collect();
        let this = Self(Arc::new(Inner { store: Mutex::new(store), known: Mutex::new(known), settings }));
        this.prune();
        this
    }

    /// All operations, oldest first.
    pub fn all(&self) -> Vec<OperationRecord> {
        let mut all: Vec<_> = self.known().values().map(|known| known.record.clone()).collect();
        all.sort_by(|one, other| (one.started, &one.id).cmp(&(other.started, &other.id)));
        all
    }

    /// The record of one operation.
    pub fn get(&self, id: &OperationId) -> Option<OperationRecord> {
        self.known().get(id).map(|known| known.record.clone())
    }

    /// One operation, to work on it.
    pub fn operation(&self, id: &OperationId) -> Option<Operation> {
        self.known().contains_key(id).then(|| Operation { all: self.clone(), id: id.clone() })
    }

    /// The arguments of an operation that an earlier agent started. Blocks while it reads a small file.
    ///
    /// # Errors
    /// The arguments are missing, or cannot be read.
    pub fn arguments(&self, id: &OperationId) -> io::Result<SecretMap> {
        self.store().read_request(id)
    }

    /// Stores a command as an operation; returns when it is on the disk. A command that is stored already is
    /// kept as it is.
    ///
    /// # Errors
    /// The state directory cannot be written. Then nothing of the operation is left there.
    pub async fn take_over(&self, new: NewOperation) -> io::Result<Operation> {
        let this = self.clone();
        let id = new.id.clone();
        if let Some(operation) = self.operation(&id) {
            return Ok(operation);
        }
        let written = system::blocking(move || {
            let store = this.store();
            let id = new.id.clone();
            let requested = store.write_request(&id, &new.arguments);
            let record = OperationRecord::new(new);
            let written = requested.and_then(|()| store.write(&record));
            if let Err(error) = written {
                // A record that did reach the disk would be resumed, although its caller received an error.
                return Err(match store.remove(&id) {
                    Ok(()) => error,
                    Err(left) => {
                        io::Error::other(format!("{error}; and what is left can't be removed: {left}"))
                    }
                });
            }
            this.known().insert(id, Known::new(record));
            Ok(())
        });
        written.await??;
        Ok(Operation { all: self.clone(), id })
    }

    /// Cancels an operation; returns when the disk has stored that.
    ///
    /// # Errors
    /// The id is unknown, or the operation has ended. Inner error: the disk cannot be written.
    pub async fn cancel(&self, id: &OperationId) -> Result<io::Result<OperationRecord>, NotCancelled> {
        let cancelled = {
            let mut known = self.known();
            let Some(known) = known.get_mut(id) else { return Err(NotCancelled::Unknown) };
            if known.record.end.is_some() || !known.cancellation.ask() {
                return Err(NotCancelled::Over);
            }
            if !known.record.is_cancelled {
                known.record.is_cancelled = true;
                known.record.say("an operator wants it to end");
            }
            known.cancelled.clone()
        };
        let saved = self.save(id).await;
        cancelled.cancel();
        Ok(saved.and_then(|()| self.get(id).ok_or_else(|| io::Error::other("it is over and forgotten"))))
    }

    /// Writes the current record; returns when it is on the disk.
    ///
    /// # Errors
    /// The disk cannot be written.
    pub async fn save(&self, id: &OperationId) -> io::Result<()> {
        self.save_as(id, |_| {}).await
    }

    /// Writes a record with a change that becomes visible only when the disk has it.
    async fn save_as(&self, id: &OperationId, change: fn(&mut OperationRecord)) -> io::Result<()> {
        let (this, id) = (self.clone(), id.clone());
        let saved = system::blocking(move || {
            let store = this.store();
            let Some(mut record) = this.get(&id) else { return Ok(()) };
            change(&mut record);
            store.write(&record)?;
            if let Some(known) = this.known().get_mut(&id) {
                change(&mut known.record);
                known.saved = Instant::now();
            }
            drop(store);
            if record.is_told {
                this.prune();
            }
            Ok(())
        });
        saved.await?
    }

    /// Removes operations whose end was reported, if they are too old or too many.
    fn prune(&self) {
        let OperationSettings { keep, keep_for } = self.0.settings;
        let store = self.store();
        let oldest = record::now().saturating_sub(keep_for.as_secs());
        let mut over: Vec<(u64, OperationId)> = {
            let known = self.known();
            let told = known.values().map(|known| &known.record).filter(|record| record.is_told);
            told.map(|record| (record.ended.unwrap_or_default(), record.id.clone())).collect()
        };
        over.sort();
        let too_many = over.len().saturating_sub(keep);
        let gone = over.iter().enumerate().filter(|(place, (ended, _))| *place < too_many || *ended < oldest);
        for (_, (_, id)) in gone {
            match store.remove(id) {
                Ok(()) => drop(self.known().remove(id)),
                Err(error) => {
                    warn!(%error, path = %store.directory().display(), "An old record of an operation can't be removed.");
                }
            }
        }
    }

    fn change(&self, id: &OperationId, change: impl FnOnce(&mut OperationRecord)) {
        if let Some(known) = self.known().get_mut(id) {
            change(&mut known.record);
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<OperationId, Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One operation, for the command that carries it out.
#[derive(Debug, Clone)]
pub struct Operation {
    all: Operations,
    id: OperationId,
}

impl Operation {
    /// The operation's id.
    pub fn id(&self) -> &OperationId {
        &self.id
    }

    /// The operation's record; `None` if it has ended and was removed.
    pub fn record(&self) -> Option<OperationRecord> {
        self.all.get(&self.id)
    }

    /// Records that a later agent resumes the operation.
    pub async fn resume(&self) {
        self.change(|record| {
            record.resumed += 1;
            record.say("resumed by another agent");
        });
        self.note().await;
    }

    /// Records on the disk that a step begins. If that fails, the operation continues: it can run again from
    /// the start.
    pub async fn enter(&self, step: &'static str) {
        info!(operation = self.id.as_str(), step, "A step of an operation begins.");
        self.change(|record| record.enter(step));
        self.note().await;
    }

    /// Records the progress of the step.
    pub async fn progress(&self, progress: Progress) {
        let is_due = {
            let mut known = self.all.known();
            let Some(known) = known.get_mut(&self.id) else { return };
            (known.record.progress, known.record.updated) = (Some(progress), record::now());
            known.saved.elapsed() >= PROGRESS_EVERY
        };
        if is_due {
            self.note().await;
        }
    }

    /// Adds a line to the operation's log. The line reaches the disk with the next step.
    pub fn say(&self, text: &str) {
        self.change(|record| record.say(text));
    }

    /// Returns when an operator cancels the operation.
    pub async fn cancelled(&self) {
        let cancelled = self.all.known().get(&self.id).map(|known| known.cancelled.clone());
        match cancelled {
            Some(cancelled) => cancelled.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// The operation has come to an end. True if it ends as cancelled; false if it can't be cancelled any more.
    pub fn settle(&self) -> bool {
        self.all.known().get_mut(&self.id).is_some_and(|known| known.cancellation.settle())
    }

    /// Records that the operation has ended; returns when that is on the disk.
    ///
    /// # Errors
    /// The disk cannot be written. Call [`Operations::save`] until it succeeds.
    pub async fn end(&self, end: End) -> io::Result<()> {
        self.change(|record| record.finish(end));
        self.all.save(&self.id).await
    }

    /// Writes the current record again, after the disk has refused it.
    ///
    /// # Errors
    /// The disk cannot be written.
    pub async fn save(&self) -> io::Result<()> {
        self.all.save(&self.id).await
    }

    /// Records that the end was reported; returns when that is on the disk.
    ///
    /// # Errors
    /// The disk cannot be written. The next agent reports the end again.
    pub async fn told(&self) -> io::Result<()> {
        self.all.save_as(&self.id, |record| record.is_told = true).await
    }

    fn change(&self, change: impl FnOnce(&mut OperationRecord)) {
        self.all.change(&self.id, change);
    }

    async fn note(&self) {
        if let Err(error) = self.all.save(&self.id).await {
            warn!(%error, operation = self.id.as_str(), "How far an operation is can't be written down; it goes on.");
        }
    }
}

#[cfg(test)]
mod tests;
