//! Passwords that CouchDB refused, kept in the state directory: a restarted agent must not have the same one refused again.
//!
//! CouchDB 3.4+ locks an account for five minutes after five wrong passwords, for every client of the address. So a
//! password that was refused is tried again only when something that may have repaired it has changed (the credentials
//! file, CouchDB's ini files, CouchDB was started again, which also makes it forget what it counted), or after five
//! minutes; and whatever changes, only three are refused in five minutes.
//!
//! Written after a refusal, and never before: an agent that is killed while it asks must not take a right password for a
//! wrong one.

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

/// Of the five that CouchDB allows; the others are for the operators of the same machine.
const MOST: usize = 3;

/// So many are kept.
const KEPT: usize = 16;

/// Against guesses at a password that somebody chose, in a file that only the agent can read.
const ROUNDS: u32 = 10_000;

/// What may repair a refused login when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Circumstances {
    /// `couchdb.url`.
    pub server: String,
    /// The sockets that CouchDB listens on, where they can be seen: others mean that it was started again.
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
    /// A hash, salted; `None` for one that shall only be counted.
    password: Option<String>,
    files: String,
}

/// How long this password must not be sent; `None` if it may be sent now.
///
/// Blocks, like all of these; call them off the async threads.
pub fn barred(state_dir: &Path, now: &Circumstances, account: &str, password: &Secret) -> Option<Duration> {
    let fits = |hash: &str| PasswordHash::admin_value_fits(hash, password);
    load(state_dir).wait(now, unix_now(), account, fits)
}

/// Takes note of a refusal. Without a password it only counts: it may have come from somebody in between.
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
        // The agent must be able to read what another program has noted as root.
        Ok(found) if found.uid() != geteuid().as_raw() => {
            let owner = system::Owner { user: found.uid(), group: found.gid() };
            system::replace_as(&path(state_dir), text.as_bytes(), MODE, owner)
        }
        _ => system::replace(&path(state_dir), text.as_bytes(), MODE),
    }
}

/// CouchDB was down: it has forgotten what it counted, and may have read another configuration.
pub fn forget(state_dir: &Path) -> io::Result<()> {
    match fs::remove_file(path(state_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// What can't be read says nothing: a login that is tried once more is better than an agent without one.
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
            // The agent itself writes the credentials file between two tries: that repairs nothing.
            refusal.files.clone_from(files);
        }
        refused.push(Refusal { at: now, account: account.to_owned(), password, files: files.clone() });
        refused.drain(..refused.len().saturating_sub(KEPT));
        Self { server: circumstances.server.clone(), listeners: circumstances.listeners.clone(), refused }
    }

    fn is_about(&self, now: &Circumstances) -> bool {
        let unseen = self.listeners.is_empty() || now.listeners.is_empty();
        self.server == now.server && (unseen || self.listeners == now.listeners)
    }

    /// One from the future tells of a clock that was set back.
    fn recent(&self, now: u64) -> impl Iterator<Item = &Refusal> {
        self.refused.iter().filter(move |refusal| refusal.at <= now && now - refusal.at < WINDOW.as_secs())
    }
}

#[cfg(test)]
#[path = "refusals/tests.rs"]
mod tests;
