//! Messages that were carried out before, known again even after a restart: whoever recorded one and sends it later must
//! not have it run a second time.
//!
//! Trove's encryption has no authentication and no counter, and the `_unique_id` travels in clear: a recorded message can
//! be sent under another id, its parts can be put together with those of another one, and whoever flips a bit of an
//! initialisation vector flips it in the first block of the value. So besides the id every encrypted part leaves its
//! mark ([`Seal`]: its last block, which depends on all before it). A message of which any mark is known is no new one.
//! Without encryption there is only the id, and nothing that would keep a stranger from sending commands of his own.
//!
//! ```text
//! arrival -> judge -> Fresh   run, record, answer, acknowledge
//!                  -> Known   the same message: answer as recorded, unless that is done; acknowledge
//!                  -> Forged  parts of another one: refuse
//! ```
//!
//! A command that changes something is on the disk, with its outcome (`outcomes.rs`), before it is answered: one that is
//! interrupted before that comes again from the broker and runs again (see the table in docs/architecture.md). Once its
//! message is acknowledged the outcome is forgotten, and its marks stay. Of commands that only read, and of refused ones, the
//! encrypted parts are good for a change all the same: they are known from the answer on, and reach the disk with the next
//! command that changes something.
//!
//! What the agent itself encrypts needs no marks: it can't be sent back to it (`protocol/src/cipher.rs`).

mod memory;
mod store;
mod under_way;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tracing::{error, warn};
use trove_couchdb_protocol::{Request, Seal};

use super::outcomes::{OutcomeFile, RecordedOutcome, Stored};
use crate::{
    commands::{Changes, Seed},
    system,
};
use memory::{Memory, Unacknowledged};
use store::Store;
pub(super) use under_way::UnderWay;

/// All marks of one message: that of its id first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marks(Vec<Seal>);

/// With so many lines the file of outcomes is written anew, without those that are done with.
const OUTCOME_LINES: usize = 1_024;

impl Marks {
    pub(super) fn of(request: &Request, id: &str) -> Self {
        Self(std::iter::once(Self::of_id(id)).chain(request.seals.iter().copied()).collect())
    }

    /// That of a message's id.
    pub(super) fn of_id(id: &str) -> Seal {
        let digest = Sha256::digest(id.as_bytes());
        let mut own = [0; 16];
        own.copy_from_slice(&digest[..16]);
        Seal(own)
    }

    pub(super) fn from_seals(seals: Vec<Seal>) -> Self {
        Self(seals)
    }

    pub(super) fn seals(&self) -> impl Iterator<Item = Seal> {
        self.0.iter().copied()
    }

    /// Whether a part of the message was encrypted.
    fn have_parts(&self) -> bool {
        self.0.len() > 1
    }

    pub(super) fn id(&self) -> Option<Seal> {
        self.0.first().copied()
    }
}

/// What a message is.
#[derive(Debug)]
pub(super) enum Judgement {
    /// To be run; its marks are kept from others while this lives.
    Fresh(UnderWay),
    /// The same message was carried out. `None` if it was answered, or is not wholly the same.
    Known(Option<(RecordedOutcome, Option<Seed>)>),
    /// It has another id than the message that a part of it was in.
    Forged,
}

/// What was carried out.
#[derive(Debug, Clone)]
pub(super) struct Receipts {
    memory: Arc<Mutex<Memory>>,
    files: Arc<Mutex<Files>>,
    /// An acknowledgement has come.
    acknowledged: Arc<Notify>,
}

/// Locked before the memory, never after it.
#[derive(Debug)]
struct Files {
    marks: Store,
    outcomes: OutcomeFile,
}

impl Receipts {
    /// Remembers the last `keep` marks, those of earlier agents included, and every outcome whose message was not
    /// acknowledged. Blocks for the length of two small files.
    pub(super) fn load(state_dir: &Path, keep: usize) -> Self {
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
        let mut memory = Memory { keep, ..Memory::default() };
        memory.remember(order.into_iter().skip(skip));
        memory.waiting.clear();
        for (marks, record) in stored.unacknowledged {
            let Some(id) = marks.id() else { continue };
            if record.outcome().is_some() {
                memory.known.extend(marks.seals());
            }
            memory.unacknowledged.insert(id, Unacknowledged { marks, record, written: true });
        }
        for marks in stored.acknowledged {
            memory.remember(marks.seals());
        }
        Self {
            memory: Arc::new(Mutex::new(memory)),
            files: Arc::new(Mutex::new(Files { marks, outcomes })),
            acknowledged: Arc::default(),
        }
    }

    /// Commands that an earlier agent had begun and not ended.
    pub(super) fn interrupted(&self) -> Vec<(Seal, Changes)> {
        let memory = lock(&self.memory);
        let interrupted =
            memory.unacknowledged.iter().map(|(id, one)| (*id, one.record.interrupted().cloned()));
        interrupted.filter_map(|(id, changes)| Some((id, changes?))).collect()
    }

    /// They don't come again, unless they have and are under way.
    pub(super) fn forget_interrupted(&self) {
        let mut memory = lock(&self.memory);
        let Memory { unacknowledged, under_way, .. } = &mut *memory;
        unacknowledged.retain(|id, one| one.record.interrupted().is_none() || under_way.contains_key(id));
    }

    /// Looks at a message that has arrived.
    pub(super) fn judge(&self, marks: Marks) -> Judgement {
        let mut memory = lock(&self.memory);
        let id = marks.id();
        if id.is_some_and(|id| memory.known.contains(&id)) {
            let recorded = id.and_then(|id| memory.unacknowledged.get(&id)).filter(|one| one.marks == marks);
            let outcome = recorded.and_then(|one| Some((one.record.outcome()?.clone(), one.record.seed())));
            return Judgement::Known(outcome);
        }
        let foreign = |seal: &Seal| {
            memory.known.contains(seal)
                || memory.under_way.get(seal).is_some_and(|(owner, _)| Some(*owner) != id)
        };
        if marks.0.iter().any(foreign) {
            return Judgement::Forged;
        }
        if let Some(id) = id {
            for seal in &marks.0 {
                memory.under_way.entry(*seal).or_insert((id, 0)).1 += 1;
            }
        }
        drop(memory);
        Judgement::Fresh(UnderWay { receipts: self.clone(), marks, lasts: false })
    }

    /// A message is acknowledged, or is the broker's again before it was begun: its outcome need not be known any more, and
    /// a seed must not.
    pub(super) async fn acknowledged(&self, id: Seal) {
        let Some(gone) = lock(&self.memory).acknowledge(id) else { return };
        self.acknowledged.notify_waiters();
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

    /// The agent ends, and all messages that could be acknowledged are.
    pub(super) async fn finish(&self) {
        let this = self.clone();
        let tidied = system::blocking(move || {
            let mut files = this.files();
            if files.outcomes.lines() > 0 { this.tidy(&mut files) } else { Ok(()) }
        });
        tell(tidied.await);
    }

    /// Moves the marks of what is done with into the file of marks, and the rest of it out of the file of outcomes.
    fn tidy(&self, files: &mut Files) -> io::Result<()> {
        self.write_marks(files)?;
        let (ids, records) = lock(&self.memory).records(|_| true);
        files.outcomes.replace(&records)?;
        lock(&self.memory).are_written(&ids);
        Ok(())
    }

    fn write_marks(&self, files: &mut Files) -> io::Result<()> {
        let (keep, new) = {
            let mut memory = lock(&self.memory);
            // None, if another one's write took them along.
            (memory.keep, std::mem::take(&mut memory.waiting))
        };
        files.marks.add(&new, keep, || lock(&self.memory).order.iter().copied().collect())
    }

    /// Writes down what the file of outcomes does not have yet, this command's among it.
    fn write_outcome(&self, id: Seal) -> io::Result<()> {
        let mut files = self.files();
        let (ids, new) = {
            let memory = lock(&self.memory);
            // Another one's write took it along, or its message was acknowledged meanwhile.
            if memory.unacknowledged.get(&id).is_none_or(|one| one.written) {
                return Ok(());
            }
            memory.records(|one| !one.written)
        };
        files.outcomes.add(&new, true, || lock(&self.memory).records(|_| true).1)?;
        lock(&self.memory).are_written(&ids);
        Ok(())
    }

    /// The same for a command that begins, without a wait for the disk.
    async fn note_beginning(&self, id: Seal) -> io::Result<()> {
        let this = self.clone();
        let noted = system::blocking(move || {
            let mut files = this.files();
            let Some(one) = lock(&this.memory).unacknowledged.get(&id).map(|one| one.record.clone()) else {
                return Ok(());
            };
            files.outcomes.add(&[one], false, || lock(&this.memory).records(|_| true).1)
        });
        noted.await?
    }

    async fn save(&self, id: Seal) -> io::Result<()> {
        let this = self.clone();
        match system::blocking(move || this.write_outcome(id)).await {
            Ok(written) => written,
            Err(stopped) => Err(stopped.into()),
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the disk this agent still knows, and goes on: a guest that does nothing any more would be worse.
fn tell(written: Result<io::Result<()>, tokio::task::JoinError>) {
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
#[path = "replay/tests.rs"]
mod tests;
