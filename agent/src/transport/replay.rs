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
//! Recorded between the answer and the acknowledgement, and only for commands that change something: one that is
//! interrupted before comes again from the broker, and runs again (see the table in docs/architecture.md).

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

impl Marks {
    pub(super) fn of(request: &Request, id: &str) -> Self {
        let digest = Sha256::digest(id.as_bytes());
        let mut own = [0; 16];
        own.copy_from_slice(&digest[..16]);
        Self(std::iter::once(Seal(own)).chain(request.seals.iter().copied()).collect())
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
    keep: usize,
}

#[derive(Debug)]
struct Store {
    path: PathBuf,
    /// `None` until it is needed, and after a failure.
    open: Option<File>,
    /// Marks in the file.
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
        let memory =
            Memory { known: order.iter().copied().collect(), order, under_way: HashMap::new(), keep };
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
        Judgement::Fresh(UnderWay { receipts: self.clone(), marks })
    }

    fn remember(&self, marks: &Marks) -> Vec<Seal> {
        let mut memory = lock(&self.memory);
        let new: Vec<Seal> = marks.0.iter().copied().filter(|seal| memory.known.insert(*seal)).collect();
        memory.order.extend(&new);
        while memory.order.len() > memory.keep {
            if let Some(oldest) = memory.order.pop_front() {
                memory.known.remove(&oldest);
            }
        }
        new
    }

    fn all(&self) -> Vec<Seal> {
        lock(&self.memory).order.iter().copied().collect()
    }
}

impl UnderWay {
    /// The command was carried out and answered; returns when the disk knows.
    ///
    /// Without the disk this agent still knows, and goes on: a guest that does nothing any more would be worse.
    pub(super) async fn record(&self) {
        let new = self.receipts.remember(&self.marks);
        if new.is_empty() {
            return;
        }
        let receipts = self.receipts.clone();
        let written = system::blocking(move || {
            let keep = lock(&receipts.memory).keep;
            let mut store = receipts.file.lock().unwrap_or_else(PoisonError::into_inner);
            // The first write makes the directory too.
            if store.length == 0 || store.length.saturating_add(new.len()) > keep.saturating_mul(2) {
                store.replace(&receipts.all())
            } else {
                store.append(&new)
            }
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
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn marks(numbers: &[u8]) -> Marks {
        Marks(numbers.iter().map(|number| Seal([*number; 16])).collect())
    }

    fn fresh(receipts: &Receipts, numbers: &[u8]) -> UnderWay {
        match receipts.judge(marks(numbers)) {
            Judgement::Fresh(under_way) => under_way,
            other => panic!("{numbers:?}: {other:?}"),
        }
    }

    #[tokio::test]
    async fn what_was_carried_out_is_known_to_the_next_agent_and_so_are_its_parts() {
        let directory = tempfile::tempdir().unwrap();
        let receipts = Receipts::load(directory.path(), 100);
        fresh(&receipts, &[1, 11, 12]).record().await;
        drop(fresh(&receipts, &[2, 21]));
        for receipts in [receipts, Receipts::load(directory.path(), 100)] {
            assert!(matches!(receipts.judge(marks(&[1, 11, 12])), Judgement::Known));
            assert!(matches!(receipts.judge(marks(&[3, 11, 12])), Judgement::Forged), "under another id");
            assert!(matches!(receipts.judge(marks(&[3, 31, 12])), Judgement::Forged), "one part of it");
            drop(fresh(&receipts, &[2, 21]));
        }
    }

    #[test]
    fn parts_of_what_is_under_way_belong_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let receipts = Receipts::load(directory.path(), 100);
        let under_way = fresh(&receipts, &[1, 11]);
        assert!(matches!(receipts.judge(marks(&[2, 11])), Judgement::Forged));
        let again = fresh(&receipts, &[1, 11]);
        drop(under_way);
        assert!(
            matches!(receipts.judge(marks(&[2, 11])), Judgement::Forged),
            "delivered twice, and once left"
        );
        drop(again);
        fresh(&receipts, &[2, 11]);
    }

    #[tokio::test]
    async fn the_file_stays_small_and_a_torn_end_is_repaired() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        let receipts = Receipts::load(directory.path(), 4);
        for number in 1..50 {
            fresh(&receipts, &[number]).record().await;
            assert!(std::fs::metadata(&path).unwrap().len() <= 8 * 16);
        }
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend([7; 5]);
        std::fs::write(&path, torn).unwrap();
        let receipts = Receipts::load(directory.path(), 4);
        fresh(&receipts, &[100]).record().await;
        let receipts = Receipts::load(directory.path(), 4);
        assert!(matches!(receipts.judge(marks(&[100])), Judgement::Known));
        assert!(matches!(receipts.judge(marks(&[49])), Judgement::Known));
        drop(fresh(&receipts, &[1]));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    }

    #[tokio::test]
    async fn without_a_disk_this_agent_still_knows() {
        let receipts = Receipts::load(Path::new("/proc/nowhere"), 4);
        fresh(&receipts, &[1]).record().await;
        assert!(matches!(receipts.judge(marks(&[1])), Judgement::Known));
    }
}
