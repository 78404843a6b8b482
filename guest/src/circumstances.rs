//! Reads what may have repaired a refused login: changed files on this machine, or a restart of CouchDB.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use trove_couchdb_config::CouchSettings;
use trove_couchdb_protocol::Secret;
use trove_couchdb_system as system;

use crate::{
    ini::AdminIni,
    refusals::{self, Circumstances},
};

impl Circumstances {
    /// Reads the current circumstances. Blocks.
    pub fn look(settings: &CouchSettings) -> Self {
        let inis = settings.local_ini_dir.as_deref().map(|directory| AdminIni::in_directory(directory).all());
        let files = std::iter::once(settings.credentials_file.clone()).chain(inis.into_iter().flatten());
        Self {
            server: settings.url.origin().ascii_serialization(),
            listeners: settings.local_port().map(system::listeners).unwrap_or_default(),
            files: state_of(files),
        }
    }
}

/// The passwords that CouchDB refused recently, for a program that logs in alongside the agent. It must not
/// send them again, because five wrong passwords lock the account.
#[derive(Debug)]
pub struct RefusedLogins {
    state_dir: PathBuf,
    now: Circumstances,
}

impl RefusedLogins {
    /// Reads the state of the files that a repair would change. All methods of this type block.
    pub fn look(settings: &CouchSettings, state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned(), now: Circumstances::look(settings) }
    }

    /// How long this password must not be sent; `None` if it may be sent now.
    pub fn barred(&self, account: &str, password: &Secret) -> Option<Duration> {
        refusals::barred(&self.state_dir, &self.now, account, password)
    }

    /// Records a refusal. Does nothing without a state directory, because then there is no agent.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn note(&self, account: &str, password: &Secret) -> io::Result<()> {
        if self.state_dir.is_dir() {
            refusals::note(&self.state_dir, &self.now, account, Some(password))?;
        }
        Ok(())
    }
}

/// A hash that changes whenever one of the files is written, replaced or touched.
fn state_of(files: impl Iterator<Item = PathBuf>) -> String {
    let mut hash = Sha256::new();
    for path in files {
        let state = fs::symlink_metadata(&path)
            .map(|found| (found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
            .ok();
        hash.update(format!("{} {state:?}\n", path.display()));
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_that_is_touched_replaced_or_new_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("creds.json");
        let state = || state_of(std::iter::once(path.clone()));
        let missing = state();
        fs::write(&path, "one").unwrap();
        let one = state();
        assert_ne!(one, missing);
        assert_eq!(one, state());
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_ne!(state(), one);
    }
}
