//! Which logs are disabled: `guest_logs.json` in the state directory.
//!
//! CouchDB goes on writing a disabled log. It only counts as disabled until it is enabled or published.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{GuestLogError, LogName};
use crate::system;

const FILE: &str = "guest_logs.json";
const MODE: u32 = 0o600;

#[derive(Debug, Default, Deserialize, Serialize)]
struct Content {
    /// An image made of a guest contains its file.
    guest_id: String,
    disabled: Vec<String>,
}

/// The file, and what it says.
#[derive(Debug)]
pub(super) struct Switches {
    path: PathBuf,
    content: Mutex<Content>,
}

impl Switches {
    /// Without a file of this guest all logs are enabled.
    pub(super) fn load(state_dir: &Path, guest_id: &str) -> Self {
        let path = state_dir.join(FILE);
        let read = fs::read(&path).and_then(|text| Ok(serde_json::from_slice::<Content>(&text)?));
        let content = match read {
            Ok(content) if content.guest_id == guest_id => content,
            Ok(_) => Content::default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => {
                warn!(%error, path = %path.display(), "Can't be read: all logs count as enabled.");
                Content::default()
            }
        };
        Self { path, content: Mutex::new(Content { guest_id: guest_id.to_owned(), ..content }) }
    }

    pub(super) fn is_enabled(&self, log: LogName) -> bool {
        !self.lock().disabled.iter().any(|name| name == log.as_str())
    }

    /// Returns when it is on the disk. Writes nothing if it is so already.
    pub(super) fn set(&self, log: LogName, enabled: bool) -> Result<(), GuestLogError> {
        if self.is_enabled(log) == enabled {
            return Ok(());
        }
        let mut content = self.lock();
        let mut disabled = content.disabled.clone();
        disabled.retain(|name| name != log.as_str());
        if !enabled {
            disabled.push(log.as_str().to_owned());
        }
        let new = Content { guest_id: content.guest_id.clone(), disabled };
        let written = serde_json::to_vec(&new).map_err(io::Error::from);
        let written = written.and_then(|text| system::replace(&self.path, &text, MODE));
        written.map_err(|error| GuestLogError::NotWritten(error.to_string()))?;
        *content = new;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_disabled_log_stays_so_and_not_in_another_guest() {
        let directory = tempfile::tempdir().unwrap();
        let load = |guest| Switches::load(directory.path(), guest);
        let switches = load("g1");
        assert!(switches.is_enabled(LogName::Couchdb));
        switches.set(LogName::Couchdb, true).unwrap();
        assert!(!switches.path.exists(), "nothing had to be written");
        switches.set(LogName::Couchdb, false).unwrap();
        assert!(!load("g1").is_enabled(LogName::Couchdb) && load("g1").is_enabled(LogName::Guest));
        assert!(load("g2").is_enabled(LogName::Couchdb));
        fs::write(&switches.path, "{").unwrap();
        assert!(load("g1").is_enabled(LogName::Couchdb));
    }

    #[test]
    fn a_change_that_can_not_be_written_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = directory.path().join("file");
        fs::write(&nowhere, "").unwrap();
        let switches = Switches::load(&nowhere.join("x"), "g");
        assert!(matches!(switches.set(LogName::Couchdb, false), Err(GuestLogError::NotWritten(_))));
        assert!(switches.is_enabled(LogName::Couchdb));
    }
}
