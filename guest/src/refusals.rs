//! Passwords that CouchDB refused, stored in the state directory, so that a
//! restarted agent does not send them again.
//!
//! After five wrong passwords CouchDB 3.4+ locks an account for five minutes, for every client at that
//! address. So a refused password is retried only after five minutes, or when something that may have
//! repaired the login has changed: the credentials file, CouchDB's ini files, or a restart of CouchDB, which
//! also resets its counter. In any case at most three passwords may be refused in five minutes.
//!
//! The record is written after a refusal and never before: an agent that is killed during a login must not
//! record a correct password as refused.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use trove_couchdb_protocol::Secret;

use trove_couchdb_client::{PasswordHash, Prf};
use trove_couchdb_system as system;

const FILE: &str = "refused_logins.json";
const MODE: u32 = 0o600;

/// CouchDB's own `max_lifetime` of `[chttpd_auth_lockout]`.
pub const WINDOW: Duration = Duration::from_secs(300);

/// CouchDB allows five refusals; the remaining two are for operators on the same machine.
const MOST: usize = 3;

/// The number of refusals stored.
const MAX_REFUSALS: usize = 16;

/// Slows down guessing a password that a person chose. Only the agent can read the file.
const ROUNDS: u32 = 10_000;

/// The facts whose change may repair a refused login.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Circumstances {
    /// `couchdb.url`.
    pub server: String,
    /// CouchDB's listening sockets, where visible. Different sockets mean that CouchDB was restarted.
    pub listeners: Vec<u64>,
    /// The state of the credentials file and of CouchDB's ini files.
    pub files: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    server: String,
    listeners: Vec<u64>,
    refused: Vec<Refusal>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Refusal {
    /// Unix seconds.
    at: u64,
    account: String,
    /// A salted hash; `None` if the refusal is only counted.
    password: Option<String>,
    files: String,
}

/// How long this password must not be sent; `None` if it may be sent now.
///
/// All functions of this module block; call them off the async threads.
pub fn barred(state_dir: &Path, now: &Circumstances, account: &str, password: &Secret) -> Option<Duration> {
    let fits = |hash: &str| PasswordHash::admin_value_fits(hash, password);
    load(state_dir).wait(now, unix_now(), account, fits)
}

/// Records a refusal. Without a password it is only counted, because it may come from a proxy in between.
pub fn note(
    state_dir: &Path,
    now: &Circumstances,
    account: &str,
    password: Option<&Secret>,
) -> io::Result<()> {
    let hash =
        password.map(|password| PasswordHash::with_fresh_salt(password, Prf::Sha256, ROUNDS).admin_value());
    let record = load(state_dir).with(now, unix_now(), account, hash);
    let text = serde_json::to_string(&record).map_err(io::Error::other)?;
    match fs::metadata(state_dir) {
        // A refusal recorded by root must be readable for the agent.
        Ok(found) if found.uid() != geteuid().as_raw() => {
            let owner = system::Owner { user: found.uid(), group: found.gid() };
            system::replace_as(&path(state_dir), text.as_bytes(), MODE, owner)
        }
        _ => system::replace(&path(state_dir), text.as_bytes(), MODE),
    }
}

/// Deletes the record after CouchDB was down: CouchDB has reset its counter
/// and may have read a new configuration.
pub fn forget(state_dir: &Path) -> io::Result<()> {
    match fs::remove_file(path(state_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// An unreadable record counts as empty: one more login is better than an agent that cannot log in.
fn load(state_dir: &Path) -> Record {
    let text = fs::read_to_string(path(state_dir)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Record {
    fn wait(
        &self,
        circumstances: &Circumstances,
        now: u64,
        account: &str,
        fits: impl Fn(&str) -> bool,
    ) -> Option<Duration> {
        if !self.is_about(circumstances) {
            return None;
        }
        let recent: Vec<&Refusal> = self.recent(now).filter(|refusal| refusal.account == account).collect();
        let left =
            |refusal: &Refusal| WINDOW.saturating_sub(Duration::from_secs(now.saturating_sub(refusal.at)));
        let same = recent.iter().rev().find(|refusal| {
            refusal.files == circumstances.files && refusal.password.as_deref().is_some_and(&fits)
        });
        let oldest_of_most = recent.len().checked_sub(MOST).and_then(|first| recent.get(first));
        same.into_iter().chain(oldest_of_most).map(|refusal| left(refusal)).max()
    }

    fn with(&self, circumstances: &Circumstances, now: u64, account: &str, password: Option<String>) -> Self {
        let mut refused: Vec<Refusal> =
            if self.is_about(circumstances) { self.recent(now).cloned().collect() } else { Vec::new() };
        let files = &circumstances.files;
        for refusal in refused.iter_mut().filter(|refusal| refusal.account == account) {
            // The agent itself writes the credentials file between two logins, which repairs nothing.
            refusal.files.clone_from(files);
        }
        refused.push(Refusal { at: now, account: account.to_owned(), password, files: files.clone() });
        refused.drain(..refused.len().saturating_sub(MAX_REFUSALS));
        Self { server: circumstances.server.clone(), listeners: circumstances.listeners.clone(), refused }
    }

    fn is_about(&self, now: &Circumstances) -> bool {
        let unseen = self.listeners.is_empty() || now.listeners.is_empty();
        self.server == now.server && (unseen || self.listeners == now.listeners)
    }

    /// Ignores refusals in the future: the clock was set back.
    fn recent(&self, now: u64) -> impl Iterator<Item = &Refusal> {
        self.refused.iter().filter(move |refusal| refusal.at <= now && now - refusal.at < WINDOW.as_secs())
    }
}

#[cfg(test)]
#[path = "refusals/tests.rs"]
mod tests;
