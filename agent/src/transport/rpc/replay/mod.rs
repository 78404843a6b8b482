//! What the disk stores about commands and messages: records of commands whose messages may be redelivered,
//! and marks of messages that were carried out.
//!
//! Trove's encryption has no authentication and no counter, and the `_unique_id` is sent in clear. An
//! attacker can send a recorded message under a new id, combine its parts with those of another message, or
//! flip a bit of an initialisation vector and thereby the same bit of a value's first block. So each
//! encrypted part leaves a mark in addition to the id ([`Seal`]: its last block, which depends on all blocks
//! before it). Without encryption there is only the id, and nothing stops a stranger from sending commands.
//!
//! The delivery core decides what counts as known and what is written (`delivery/src/replay_tags.rs`); this
//! module reads and writes the two files. A command's outcome is on the disk before the command is answered
//! (`outcomes.rs`). Once its message is acknowledged, the outcome is dropped and its marks are kept. The
//! marks of read-only and of refused commands reach the disk with the next command that changes something.
//!
//! Messages that the agent itself encrypts need no marks: they cannot be sent back to it
//! (`protocol/src/cipher.rs`).

mod store;
mod tags;

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::{error, warn};
use trove_couchdb_delivery::{Mark, Resumed, StoredCommand, StoredOperation, resume};
use trove_couchdb_protocol::Seal;

use super::outcomes::{self, CommandRecord, OutcomeFile, RecordedOutcome, Stored};
use crate::{
    commands::{Changes, Scopes, Seed},
    operations::{OperationRecord, Operations},
    system,
};
use store::Store;
pub(super) use tags::ReplayTags;

/// With more lines than this, the file of outcomes is rewritten without finished commands.
const OUTCOME_LINES: usize = 1_024;

/// How many marks of read-only commands may wait to be written.
const WAITING: usize = 1_024;

/// What the two files contain.
#[derive(Debug, Default)]
pub(in crate::transport) struct FromDisk {
    marks: Vec<Mark>,
    commands: Vec<StoredCommand<Scopes, RecordedOutcome>>,
}

/// What an earlier agent stored, for the core.
pub(in crate::transport) type Known = Resumed<Scopes, RecordedOutcome>;

impl FromDisk {
    /// Adds the operations. The delivery core decides what the agent continues.
    pub(in crate::transport) fn resume(self, operations: &Operations, has_broker: bool) -> Known {
        let stored = |record: OperationRecord| StoredOperation {
            id: ReplayTags::of_operation(&record.id),
            message: record
                .marks
                .iter()
                .filter_map(|text| outcomes::seal(text))
                .map(|seal| Mark(seal.0))
                .collect(),
            handed_over: RecordedOutcome::HandedOver(record.id.clone()),
            end: record.end.map(RecordedOutcome::from),
            is_told: record.is_told,
        };
        resume(self.marks, self.commands, operations.all().into_iter().map(stored).collect(), has_broker)
    }
}

/// The two files.
#[derive(Debug, Clone)]
pub(in crate::transport) struct Records {
    memory: Arc<Mutex<Memory>>,
    files: Arc<Mutex<Files>>,
}

/// What the files should contain.
#[derive(Debug, Default)]
struct Memory {
    /// The commands whose messages are not acknowledged, by id.
    records: HashMap<Seal, Kept>,
    /// Marks that are not in the file yet.
    waiting: Vec<Seal>,
}

#[derive(Debug)]
struct Kept {
    record: CommandRecord,
    /// The file contains the current record.
    written: bool,
}

impl Memory {
    /// The record of a command, to be changed: marks it as not written.
    fn record(&mut self, marks: &ReplayTags, id: Seal) -> &mut CommandRecord {
        let new = || Kept { record: CommandRecord::new(marks), written: false };
        let one = self.records.entry(id).or_insert_with(new);
        one.written = false;
        &mut one.record
    }

    fn chosen(&self, which: impl Fn(&Kept) -> bool) -> (Vec<Seal>, Vec<CommandRecord>) {
        let chosen = self.records.iter().filter(|(_, one)| which(one));
        chosen.map(|(id, one)| (*id, one.record.clone())).unzip()
    }

    fn all(&self) -> Vec<CommandRecord> {
        self.chosen(|_| true).1
    }

    fn are_written(&mut self, ids: &[Seal]) {
        for id in ids {
            if let Some(one) = self.records.get_mut(id) {
                one.written = true;
            }
        }
    }
}

/// Lock this before the memory, never after it.
#[derive(Debug)]
struct Files {
    marks: Store,
    /// How many marks the file keeps at least.
    keep: usize,
    outcomes: OutcomeFile,
}

impl Records {
    /// Reads both files: the last `keep` marks, and every record whose message was not acknowledged. Blocks
    /// while it reads two small files.
    pub(in crate::transport) fn load(state_dir: &Path, keep: usize) -> (Self, FromDisk) {
        let (marks, order) = Store::load(state_dir);
        let (outcomes, read) = OutcomeFile::load(state_dir);
        let stored = read.map(|(stored, unreadable)| {
            if unreadable > 0 {
                warn!(
                    lines = unreadable,
                    "The file of outcomes has lines that can't be read; they are left out."
                );
            }
            stored
        });
        let stored = stored.unwrap_or_else(|error| {
            warn!(%error, "The file of outcomes can't be read: commands that come again may run again.");
            Stored::default()
        });
        let skip = order.len().saturating_sub(keep);
        let mut known = FromDisk::default();
        known.marks.extend(order.into_iter().skip(skip).map(|seal| Mark(seal.0)));
        let mut memory = Memory::default();
        for (marks, record) in stored.unacknowledged {
            let Some(id) = marks.id() else { continue };
            known.commands.push(StoredCommand {
                marks: marks.for_the_core(),
                scopes: record.changes().map(Changes::scopes),
                outcome: record.outcome().cloned(),
            });
            memory.records.insert(id, Kept { record, written: true });
        }
        for marks in stored.acknowledged {
            known.marks.extend(marks.for_the_core());
            memory.waiting.extend(marks.seals());
        }
        let files = Files { marks, keep, outcomes };
        (Self { memory: Arc::new(Mutex::new(memory)), files: Arc::new(Mutex::new(files)) }, known)
    }

    /// Records that a command begins to make these changes. Does not wait for the disk: the record is for the
    /// next agent on the running machine.
    pub(super) async fn begin(&self, marks: &ReplayTags, changes: Changes) -> io::Result<()> {
        let Some(id) = marks.id() else { return Ok(()) };
        lock(&self.memory).record(marks, id).begin(changes);
        let this = self.clone();
        let noted = system::blocking(move || {
            let mut files = this.files();
            let Some(one) = lock(&this.memory).records.get(&id).map(|one| one.record.clone()) else {
                return Ok(());
            };
            files.outcomes.add(&[one], false, || lock(&this.memory).all())
        });
        noted.await?
    }

    /// The seed of a command's answer, which stays the same when the command is redelivered. It is on the
    /// disk.
    pub(super) async fn seed(&self, marks: &ReplayTags) -> io::Result<Seed> {
        let Some(id) = marks.id() else { return Ok(Seed::random()) };
        let seed = {
            let mut memory = lock(&self.memory);
            let record = memory.record(marks, id);
            record.seed().unwrap_or_else(|| {
                let seed = Seed::random();
                record.plant(&seed);
                seed
            })
        };
        self.save(id).await.map(|()| seed)
    }

    /// The seed of a command that has ended.
    pub(super) fn seed_of(&self, id: Seal) -> Option<Seed> {
        lock(&self.memory).records.get(&id)?.record.seed()
    }

    /// Records the outcome of a command; returns when it is on the disk.
    pub(super) async fn end(&self, marks: &ReplayTags, outcome: RecordedOutcome) -> io::Result<()> {
        let Some(id) = marks.id() else { return Ok(()) };
        lock(&self.memory).record(marks, id).end(outcome);
        self.save(id).await
    }

    /// Writes all records that the file of outcomes does not contain yet, including that of this command.
    pub(super) async fn save(&self, id: Seal) -> io::Result<()> {
        let this = self.clone();
        let saved = system::blocking(move || {
            let mut files = this.files();
            let (ids, new) = {
                let memory = lock(&this.memory);
                // A different write included it, or its message was acknowledged meanwhile.
                if memory.records.get(&id).is_none_or(|one| one.written) {
                    return Ok(());
                }
                memory.chosen(|one| !one.written)
            };
            files.outcomes.add(&new, true, || lock(&this.memory).all())?;
            lock(&this.memory).are_written(&ids);
            Ok(())
        });
        saved.await?
    }

    /// Drops a record that is no longer needed, and its seed. The marks of a command that has ended are kept.
    pub(super) async fn forget(&self, id: Seal) {
        let gone = {
            let mut memory = lock(&self.memory);
            let Some(gone) = memory.records.remove(&id) else { return };
            if gone.record.outcome().is_some()
                && let Some(marks) = gone.record.marks()
            {
                memory.waiting.extend(marks.seals());
            }
            gone
        };
        let this = self.clone();
        let noted = system::blocking(move || {
            let mut files = this.files();
            let noted = files.outcomes.note_acknowledged(id);
            if gone.record.seed().is_some() || noted.is_err() || files.outcomes.lines() > OUTCOME_LINES {
                this.tidy(&mut files)?;
            }
            Ok::<_, io::Error>(())
        });
        tell(noted.await);
    }

    /// Queues marks for a later write. True if so many are queued that they should be written now.
    pub(super) fn remember(&self, marks: impl IntoIterator<Item = Seal>) -> bool {
        let mut memory = lock(&self.memory);
        memory.waiting.extend(marks);
        memory.waiting.len() >= WAITING
    }

    /// Writes all queued marks; returns when they are on the disk.
    pub(super) async fn write_marks(&self) -> io::Result<()> {
        let this = self.clone();
        system::blocking(move || this.add_marks(&mut this.files())).await?
    }

    /// Tidies the files when the agent stops and has acknowledged all messages that it could.
    pub(super) async fn finish(&self) {
        let this = self.clone();
        let tidied = system::blocking(move || {
            let mut files = this.files();
            let is_untidy = files.outcomes.lines() > 0 || !lock(&this.memory).waiting.is_empty();
            if is_untidy { this.tidy(&mut files) } else { Ok(()) }
        });
        tell(tidied.await);
    }

    /// Moves the marks of finished commands to the file of marks, and their records out of the file of
    /// outcomes.
    fn tidy(&self, files: &mut Files) -> io::Result<()> {
        self.add_marks(files)?;
        let (ids, records) = lock(&self.memory).chosen(|_| true);
        files.outcomes.replace(&records)?;
        lock(&self.memory).are_written(&ids);
        Ok(())
    }

    fn add_marks(&self, files: &mut Files) -> io::Result<()> {
        // None, if another one's write took them along.
        let new = std::mem::take(&mut lock(&self.memory).waiting);
        let written = files.marks.add(&new, files.keep);
        if written.is_err() {
            lock(&self.memory).waiting.splice(0..0, new);
        }
        written
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs a failed write. The agent still has the information in memory and continues: a guest that does
/// nothing any more would be worse.
pub(super) fn tell(written: Result<io::Result<()>, tokio::task::JoinError>) {
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            warn!(%error, "What was carried out can't be written down: after a restart it could be replayed.");
        }
        Err(error) => error!(%error, "What was carried out was not written down."),
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
