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
//! arrival -> judge -> Fresh   run, answer, record, acknowledge
//!                  -> Known   the same message: it was answered, and its receipt was lost; acknowledge
//!                  -> Forged  parts of another one: refuse
//! ```
//!
//! Recorded between the answer and the acknowledgement: one that is interrupted before comes again from the broker, and runs
//! again (see the table in docs/architecture.md). Commands that change something are on the disk before they are
//! acknowledged. Of those that only read, and of refused ones, the encrypted parts are good for a change all the same: they
//! are known from then on, and reach the disk with the next command that changes something.
//!
//! What the agent itself encrypts needs no marks: it can't be sent back to it (`protocol/src/cipher.rs`).

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};
use tracing::warn;
use trove_couchdb_protocol::{Request, Seal};

use crate::system;

/// In the state directory: marks of 16 bytes, the oldest first.
const FILE_NAME: &str = "carried_out";

const MODE: u32 = 0o600;

/// All marks of one message: that of its id first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marks(Vec<Seal>);

/// So many marks wait for the disk at most.
const WAITING: usize = 1_024;

impl Marks {
    pub(super) fn of(request: &Request, id: &str) -> Self {
        let digest = Sha256::digest(id.as_bytes());
        let mut own = [0; 16];
        own.copy_from_slice(&digest[..16]);
        Self(std::iter::once(Seal(own)).chain(request.seals.iter().copied()).collect())
    }

    /// Whether a part of the message was encrypted.
    fn have_parts(&self) -> bool {
        self.0.len() > 1
    }

    fn id(&self) -> Option<Seal> {
        self.0.first().copied()
    }
}

/// What a message is.
#[derive(Debug)]
pub(super) enum Judgement {
    /// To be run; its marks are kept from others while this lives.
    Fresh(UnderWay),
    /// The same message was carried out and answered.
    Known,
    /// It has another id than the message that a part of it was in.
    Forged,
}

/// The marks of a message that is being carried out.
#[derive(Debug)]
pub(super) struct UnderWay {
    receipts: Receipts,
    marks: Marks,
    /// Whether the disk has to know before the message is acknowledged.
    lasts: bool,
}

/// What was carried out.
#[derive(Debug, Clone)]
pub(super) struct Receipts {
    memory: Arc<Mutex<Memory>>,
    file: Arc<Mutex<Store>>,
}

#[derive(Debug)]
struct Memory {
    known: HashSet<Seal>,
    order: VecDeque<Seal>,
    /// To whose id a mark belongs, and how many deliveries of that message there are.
    under_way: HashMap<Seal, (Seal, usize)>,
    /// Not in the file yet.
    waiting: Vec<Seal>,
    keep: usize,
}

#[derive(Debug)]
struct Store {
    path: PathBuf,
    /// `None` until it is needed, and after a failure.
    open: Option<File>,
    /// Marks in the file; `usize::MAX` if nobody knows what is in it.
    length: usize,
}

impl Receipts {
    /// Remembers the last `keep` marks, those of earlier agents included. Blocks for the length of one small file.
    pub(super) fn load(state_dir: &Path, keep: usize) -> Self {
        let path = state_dir.join(FILE_NAME);
        let stored = match std::fs::read(&path) {
            Ok(stored) => stored,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                warn!(%error, path = %path.display(), "Can't be read: messages of before could be replayed.");
                Vec::new()
            }
        };
        // A write that was cut short leaves a part of a mark, behind which others would be out of step.
        let (marks, torn) = stored.as_chunks::<16>();
        let length = if torn.is_empty() { marks.len() } else { usize::MAX };
        let order: VecDeque<Seal> =
            marks.iter().skip(marks.len().saturating_sub(keep)).copied().map(Seal).collect();
        let memory = Memory {
            known: order.iter().copied().collect(),
            order,
            under_way: HashMap::new(),
            waiting: Vec::new(),
            keep,
        };
        let store = Store { path, open: None, length };
        Self { memory: Arc::new(Mutex::new(memory)), file: Arc::new(Mutex::new(store)) }
    }

    /// Looks at a message that has arrived.
    pub(super) fn judge(&self, marks: Marks) -> Judgement {
        let mut memory = lock(&self.memory);
        let id = marks.id();
        if id.is_some_and(|id| memory.known.contains(&id)) {
            return Judgement::Known;
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

    /// True if they must be written now.
    fn remember(&self, marks: &Marks, lasts: bool) -> bool {
        let mut memory = lock(&self.memory);
        let new: Vec<Seal> = marks.0.iter().copied().filter(|seal| memory.known.insert(*seal)).collect();
        memory.order.extend(&new);
        while memory.order.len() > memory.keep {
            if let Some(oldest) = memory.order.pop_front() {
                memory.known.remove(&oldest);
            }
        }
        memory.waiting.extend(&new);
        !new.is_empty() && (lasts || memory.waiting.len() >= WAITING)
    }

    fn file(&self) -> MutexGuard<'_, Store> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Seal> {
        lock(&self.memory).order.iter().copied().collect()
    }
}

impl UnderWay {
    /// It changes something: a second run must be kept off for good.
    #[must_use]
    pub(super) fn lasting(mut self) -> Self {
        self.lasts = true;
        self
    }

    /// Whether there is a reason to keep its marks.
    pub(super) fn matters(&self) -> bool {
        self.lasts || self.marks.have_parts()
    }

    /// The command was carried out and answered; returns when the disk knows, if it has to.
    ///
    /// Without the disk this agent still knows, and goes on: a guest that does nothing any more would be worse.
    pub(super) async fn record(&self) {
        if !self.receipts.remember(&self.marks, self.lasts) {
            return;
        }
        let receipts = self.receipts.clone();
        let written = system::blocking(move || {
            let mut store = receipts.file();
            let (keep, new) = {
                let mut memory = lock(&receipts.memory);
                // None, if another one's write took them along.
                (memory.keep, std::mem::take(&mut memory.waiting))
            };
            // The first write makes the directory too.
            let written =
                if store.length == 0 || store.length.saturating_add(new.len()) > keep.saturating_mul(2) {
                    store.replace(&receipts.all())
                } else if new.is_empty() {
                    Ok(())
                } else {
                    store.append(&new)
                };
            if written.is_err() {
                // A part of them may be there, or nothing: the next write begins anew, with all that is known.
                (store.open, store.length) = (None, usize::MAX);
            }
            written
        });
        if let Ok(Err(error)) = written.await {
            warn!(%error, "What was carried out can't be written down: after a restart it could be replayed.");
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

impl Store {
    fn append(&mut self, marks: &[Seal]) -> io::Result<()> {
        let mut file = match self.open.take() {
            Some(file) => file,
            None => File::options().append(true).open(&self.path)?,
        };
        file.write_all(&bytes(marks))?;
        file.sync_data()?;
        self.open = Some(file);
        self.length += marks.len();
        Ok(())
    }

    fn replace(&mut self, marks: &[Seal]) -> io::Result<()> {
        self.open = None;
        system::replace(&self.path, &bytes(marks), MODE)?;
        self.length = marks.len();
        Ok(())
    }
}

fn bytes(marks: &[Seal]) -> Vec<u8> {
    marks.iter().flat_map(|seal| seal.0).collect()
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "replay/tests.rs"]
mod tests;
