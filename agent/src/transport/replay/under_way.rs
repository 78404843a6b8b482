//! A command between its arrival and its acknowledgement: what the disk has to know of it, and when.

use std::{collections::hash_map::Entry, io, time::Duration};

use tokio::time;
use tracing::debug;
use trove_couchdb_protocol::Seal;

use super::{Marks, Receipts, lock, tell};
use crate::{
    commands::{Changes, Seed},
    system,
    transport::outcomes::RecordedOutcome,
};

/// So many marks of commands that only read wait for the disk at most.
const WAITING: usize = 1_024;

/// How often it is tried to write an outcome down that the disk did not take.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The marks of a message that is being carried out.
#[derive(Debug)]
pub(in crate::transport) struct UnderWay {
    pub(super) receipts: Receipts,
    pub(super) marks: Marks,
    /// Whether the disk has to know before the message is answered.
    pub(super) lasts: bool,
}

impl UnderWay {
    /// It changes something: a second run must be kept off for good.
    #[must_use]
    pub(in crate::transport) fn lasting(mut self) -> Self {
        self.lasts = true;
        self
    }

    /// That of the message's id.
    pub(in crate::transport) fn mark(&self) -> Option<Seal> {
        self.marks.id()
    }

    /// Whether there is a reason to keep its marks.
    pub(in crate::transport) fn matters(&self) -> bool {
        self.lasts || self.marks.have_parts()
    }

    /// The command begins to change this.
    pub(in crate::transport) async fn begin(&self, changes: Changes) {
        let Some(id) = self.marks.id().filter(|_| self.lasts) else { return };
        lock(&self.receipts.memory).record(&self.marks, id).begin(changes);
        if let Err(error) = self.receipts.note_beginning(id).await {
            debug!(%error, "It can't be noted that a command begins.");
        }
    }

    /// The seed of its answer, the same whenever the command comes again; the disk has it.
    pub(in crate::transport) async fn seed(&self) -> io::Result<Seed> {
        let Some(id) = self.marks.id() else { return Ok(Seed::random()) };
        let seed = {
            let mut memory = lock(&self.receipts.memory);
            let record = memory.record(&self.marks, id);
            record.seed().unwrap_or_else(|| {
                let seed = Seed::random();
                record.plant(&seed);
                seed
            })
        };
        self.receipts.save(id).await.map(|()| seed)
    }

    /// The command has ended; returns when the disk knows how, if it has to.
    ///
    /// # Errors
    /// The disk's: then it is written down with a later outcome or by [`UnderWay::until_safe`], and until then this agent
    /// alone knows.
    pub(in crate::transport) async fn record(&self, outcome: RecordedOutcome) -> io::Result<()> {
        let Some(id) = self.marks.id().filter(|_| self.lasts) else { return Ok(()) };
        {
            let mut memory = lock(&self.receipts.memory);
            memory.known.extend(self.marks.seals());
            memory.record(&self.marks, id).end(outcome);
        }
        self.receipts.save(id).await
    }

    /// Returns when the command can't be run a second time any more: its outcome is on the disk after all, or its message
    /// is acknowledged.
    pub(in crate::transport) async fn until_safe(&self) {
        let Some(id) = self.marks.id() else { return };
        loop {
            let acknowledged = self.receipts.acknowledged.notified();
            if !lock(&self.receipts.memory).unacknowledged.contains_key(&id) {
                return;
            }
            tokio::select! {
                () = acknowledged => {}
                () = time::sleep(TRY_AGAIN) => {
                    if self.receipts.save(id).await.is_ok() {
                        return;
                    }
                }
            }
        }
    }

    /// The command is answered: the parts of one that only reads are known from now on.
    pub(in crate::transport) async fn answered(&self) {
        if self.lasts {
            return;
        }
        let many = {
            let mut memory = lock(&self.receipts.memory);
            memory.remember(self.marks.seals()) && memory.waiting.len() >= WAITING
        };
        if many {
            let receipts = self.receipts.clone();
            tell(system::blocking(move || receipts.write_marks(&mut receipts.files())).await);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut memory = lock(&self.receipts.memory);
        for seal in &self.marks.0 {
            if let Entry::Occupied(mut entry) = memory.under_way.entry(*seal) {
                entry.get_mut().1 -= 1;
                if entry.get().1 == 0 {
                    entry.remove();
                }
            }
        }
    }
}
