//! The file `carried_out`: tags of 16 bytes, the oldest first.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use tracing::warn;
use trove_couchdb_protocol::Seal;

use crate::system;

/// In the state directory.
pub(super) const FILE_NAME: &str = "carried_out";

pub(super) const MODE: u32 = 0o600;

#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    /// `None` until first used, and after a failure.
    pub(super) open: Option<File>,
    /// How many tags are in the file; `usize::MAX` if that is unknown.
    length: usize,
}

impl Store {
    /// Reads the tags in the file. Blocks.
    pub(super) fn load(state_dir: &Path) -> (Self, Vec<Seal>) {
        let path = state_dir.join(FILE_NAME);
        let stored = match std::fs::read(&path) {
            Ok(stored) => stored,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                warn!(%error, path = %path.display(), "Can't be read: messages of before could be replayed.");
                Vec::new()
            }
        };
        // An interrupted write leaves part of a tag, and tags appended after it would be misaligned.
        let (tags, torn) = stored.as_chunks::<16>();
        let length = if torn.is_empty() { tags.len() } else { usize::MAX };
        (Self { path, open: None, length }, tags.iter().copied().map(Seal).collect())
    }

    /// Adds tags; returns when they are on the disk. With more than twice `keep` tags, the file is
    /// rewritten with the last `keep`.
    pub(super) fn add(&mut self, new: &[Seal], keep: usize) -> io::Result<()> {
        // The first write also creates the directory.
        let written = if self.length == 0 || self.length.saturating_add(new.len()) > keep.saturating_mul(2) {
            self.replace(&self.last(new, keep))
        } else if new.is_empty() {
            Ok(())
        } else {
            self.append(new)
        };
        if written.is_err() {
            // The file may contain some of the tags or none, so the next write rewrites it.
            (self.open, self.length) = (None, usize::MAX);
        }
        written
    }

    /// The newest tags: those in the file, then the new ones.
    fn last(&self, new: &[Seal], keep: usize) -> Vec<Seal> {
        let stored = std::fs::read(&self.path).unwrap_or_default();
        let mut all: Vec<Seal> = stored.as_chunks::<16>().0.iter().copied().map(Seal).collect();
        all.extend(new);
        all.split_off(all.len().saturating_sub(keep))
    }

    fn append(&mut self, tags: &[Seal]) -> io::Result<()> {
        let mut file = match self.open.take() {
            Some(file) => file,
            None => File::options().append(true).open(&self.path)?,
        };
        file.write_all(&bytes(tags))?;
        file.sync_data()?;
        self.open = Some(file);
        self.length += tags.len();
        Ok(())
    }

    fn replace(&mut self, tags: &[Seal]) -> io::Result<()> {
        self.open = None;
        system::replace(&self.path, &bytes(tags), MODE)?;
        self.length = tags.len();
        Ok(())
    }
}

fn bytes(tags: &[Seal]) -> Vec<u8> {
    tags.iter().flat_map(|seal| seal.0).collect()
}
