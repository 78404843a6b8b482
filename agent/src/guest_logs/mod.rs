//! The logs of the instance that users of Trove can list, publish to the object store, and read there.
//!
//! ```text
//! couchdb  CouchDB's log, a user's log: it can be disabled
//! guest    the agent's own log, of Trove's type SYS: it is always enabled, and only for administrators
//! ```
//!
//! What Trove's clients read is in the object store, and so is the agent's own record of it: names, contents and
//! meaning follow `trove/guestagent/guest_log.py`, which is the same from 12.0.0 to 26.0.0.
//!
//! ```text
//! database_logs/GUEST/couchdb-LOG/log-TIME    a piece: whole lines, with their number in X-Object-Meta-Lines
//! database_logs/GUEST/couchdb-LOG_metafile    how much of which file is published; see `metafile`
//! ```
//!
//! On this machine the agent only stores which logs are disabled. So a publication survives a crash at any
//! point, a rebuilt server and a full disk.

mod error;
mod file;
mod metafile;
mod names;
mod piece;
mod publish;
mod store;
mod switches;

use std::{path::PathBuf, sync::Arc};

use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{self, Instant},
};
use tracing::warn;
use trove_couchdb_config::{GuestLogSettings, Settings};
use trove_couchdb_guest::{credentials, redact::Redactor};
use trove_couchdb_protocol::trove::Caller;

use crate::{
    swift::{Account, Swift},
    system,
};
use file::LogFile;
use metafile::Metafile;
use store::Store;
use switches::Switches;

pub use error::GuestLogError;
pub use names::{LogName, Verb, Wanted};

/// The logs of this guest. Clones share the same state.
#[derive(Debug, Clone)]
pub struct GuestLogs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: GuestLogSettings,
    guest_id: String,
    swift: Swift,
    switches: Switches,
    credentials_file: PathBuf,
    /// Knows the secrets of the configuration.
    redactor: Redactor,
    /// One publication at a time: two would write the same metafile.
    publishing: Mutex<()>,
}

impl GuestLogs {
    /// Reads which logs are disabled. Neither opens a log nor sends a request.
    pub fn load(settings: &Settings) -> Self {
        Self(Arc::new(Inner {
            settings: settings.guest_log.clone(),
            guest_id: settings.guest.id.clone(),
            swift: Swift::new(&settings.swift),
            switches: Switches::load(&settings.guest.state_dir, &settings.guest.id),
            credentials_file: settings.couchdb.credentials_file.clone(),
            redactor: Redactor::of(settings),
            publishing: Mutex::default(),
        }))
    }

    /// All logs that the caller may see, in the form of Trove.
    pub async fn list(&self, caller: &Caller) -> Result<Value, GuestLogError> {
        let deadline = self.deadline();
        let account = self.0.swift.account(caller, deadline).await?;
        let mut shown = Vec::new();
        for log in LogName::ALL.into_iter().filter(|log| self.is_exposed(*log, caller)) {
            let store = self.store(&account, log);
            let metafile = match store.metafile().await {
                // Another program has replaced it. That must not hide the other logs.
                Err(GuestLogError::Metafile { .. }) => None,
                read => read?,
            };
            shown.push(self.show(log, metafile.as_ref()).await);
        }
        Ok(Value::Array(shown))
    }

    /// Does what is wanted of one log, and shows it in the form of Trove.
    pub async fn act(&self, caller: &Caller, log: LogName, wanted: Wanted) -> Result<Value, GuestLogError> {
        let deadline = self.deadline();
        let verb = Verb::of(wanted);
        if !self.is_exposed(log, caller) {
            return Err(GuestLogError::ForAdministrators { verb, log });
        }
        if wanted.enable && wanted.disable {
            return Err(GuestLogError::Contradiction(log));
        }
        if log.is_system() && !wanted.publish && (wanted.enable || wanted.disable) {
            return Err(GuestLogError::System { verb, log });
        }
        let account = self.0.swift.account(caller, deadline).await?;
        let changes_objects = wanted.publish || wanted.discard;
        let _turn = if changes_objects { Some(self.turn(deadline).await?) } else { None };
        if !log.is_system() {
            self.switch(log, wanted).await?;
        }
        let store = self.store(&account, log);
        if wanted.discard {
            store.discard().await?;
        }
        if wanted.publish {
            let file = self.file_of(log).await?;
            let redactor = self.redactor().await;
            // What is left of the time is for the end: a record of it, and the answer.
            let until = deadline - self.0.settings.timeout / 5;
            publish::publish(&store, file, redactor, self.0.settings.piece_bytes, until).await?;
        }
        let metafile = store.metafile().await?;
        Ok(self.show(log, metafile.as_ref()).await)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.0.settings.timeout
    }

    async fn turn(&self, deadline: Instant) -> Result<MutexGuard<'_, ()>, GuestLogError> {
        time::timeout_at(deadline, self.0.publishing.lock()).await.map_err(|_| GuestLogError::Busy)
    }

    /// As in Trove, a publication enables a log, unless the user wants it disabled.
    async fn switch(&self, log: LogName, wanted: Wanted) -> Result<(), GuestLogError> {
        if wanted.disable || wanted.enable || wanted.publish {
            let inner = Arc::clone(&self.0);
            let enabled = !wanted.disable;
            let written = system::blocking(move || inner.switches.set(log, enabled)).await;
            written.map_err(|_| GuestLogError::Stopping)??;
        }
        Ok(())
    }

    fn is_exposed(&self, log: LogName, caller: &Caller) -> bool {
        let is_named = |name: &String| name == "all" || name.eq_ignore_ascii_case(log.as_str());
        caller.is_admin || self.0.settings.exposed.iter().any(is_named)
    }

    fn store<'a>(&'a self, account: &'a Account, log: LogName) -> Store<'a> {
        let GuestLogSettings { container, expiry, .. } = &self.0.settings;
        Store::new(account, container, &self.0.guest_id, log, *expiry)
    }

    async fn file_of(&self, log: LogName) -> Result<LogFile, GuestLogError> {
        let path = match log {
            LogName::Couchdb => Some(self.0.settings.couchdb_file.clone()),
            LogName::Guest => self.0.settings.agent_file.clone(),
        };
        let path = path.ok_or(GuestLogError::NoFile)?;
        system::blocking(move || LogFile::open(&path)).await.map_err(|_| GuestLogError::Stopping)?
    }

    /// Also knows `os_admin`'s password of today.
    async fn redactor(&self) -> Redactor {
        let inner = Arc::clone(&self.0);
        let learned = system::blocking(move || {
            let mut redactor = inner.redactor.clone();
            // A file that can't be read has been reported by bootstrap.
            let known = credentials::load(&inner.credentials_file).ok().flatten();
            for password in known.iter().flat_map(|known| std::iter::once(&known.password).chain(&known.next))
            {
                redactor.learn(password);
                redactor.learn_login("os_admin", password);
            }
            redactor
        });
        learned.await.unwrap_or_else(|_| self.0.redactor.clone())
    }

    /// The members that Trove's API and clients expect (`GuestLog.show`).
    async fn show(&self, log: LogName, metafile: Option<&Metafile>) -> Value {
        let published = metafile.map_or(0, |known| known.size);
        let enabled = log.is_system() || self.0.switches.is_enabled(log);
        let (status, pending) = match self.file_of(log).await {
            Ok(file) => {
                let rotated = metafile.is_some_and(|known| known.is_rotated(&file));
                let pending = if rotated { file.size } else { file.size.saturating_sub(published) };
                let status = match (rotated, pending, published) {
                    (true, ..) => "Rotated",
                    (false, 0, 0) => "Enabled",
                    (false, 0, _) => "Published",
                    (false, _, 0) => "Ready",
                    (false, ..) => "Partial",
                };
                (status, pending)
            }
            Err(error) => {
                // Trove's answer has no member for a reason; a publication says it.
                if enabled {
                    warn!(log = log.as_str(), reason = %error, "A log can't be read.");
                }
                ("Unavailable", 0)
            }
        };
        let status = if enabled { status } else { "Disabled" };
        // Python's clients print these, and read the container even if it is the text "None".
        let none = || "None".to_owned();
        let (container, prefix) = match published {
            0 => (none(), none()),
            _ => (self.0.settings.container.clone(), names::prefix(&self.0.guest_id, log)),
        };
        json!({
            "name": log.as_str(), "type": log.type_name(), "status": status, "published": published, "pending": pending,
            "container": container, "prefix": prefix, "metafile": names::metafile(&self.0.guest_id, log),
        })
    }
}
