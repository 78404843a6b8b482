//! A server that runs but cannot work: databases that cannot be opened, a full disk, a cluster without its
//! majority.
//!
//! The answers are those of a real 3.5 with a full tmpfs under its data directory, with a directory in place
//! of a shard's file, and with two of three nodes killed. Tests ([`crate::InMemoryCouch::trouble`]) or other
//! processes (`PUT /_fault/trouble`) set it; the router and the affected routes check it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::database::Database;
use crate::node::{Node, State};
use crate::reply::{Refusal, Reply};

/// The problems of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools, reason = "independent problems")]
pub struct Trouble {
    /// Databases that are listed but whose files cannot be opened.
    pub unopenable: BTreeSet<String>,
    /// Nothing can be written.
    pub disk_full: bool,
    /// The directory of the ini files is read-only.
    pub config_read_only: bool,
    /// The two other nodes of a cluster of three are down. Writes to `_security` are lost when they are back.
    pub peers_down: bool,
    /// The node had this name before, and all databases belong to it.
    pub renamed_from: Option<String>,
    /// No further file can be opened: only CouchDB's own databases, which are open, can be used.
    pub no_files: bool,
    /// Databases with files of these sizes, until a compaction.
    pub fat: BTreeMap<String, Fat>,
    /// Databases whose files a failed DELETE has removed.
    #[serde(skip)]
    pub emptied: BTreeSet<String>,
}

/// The size of a database's files in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fat {
    /// The size on disk.
    pub file: u64,
    /// The part in use.
    pub active: u64,
}

/// The nodes that are down if `peers_down` is set.
pub(crate) const PEERS: [&str; 2] = ["couchdb@peer2", "couchdb@peer3"];

impl State {
    /// Replaces the current problems.
    pub(crate) fn set_trouble(&mut self, trouble: Trouble) {
        if !trouble.peers_down {
            for database in self.databases.values_mut() {
                // The majority's copies win.
                database.minority_security = None;
            }
        }
        self.config.is_read_only = trouble.config_read_only;
        self.trouble = trouble;
    }
}

/// The refusal of a request that the server cannot serve, if any.
pub(crate) fn refusal(node: &Node, verb: &str, path: &[&str]) -> Option<Refusal> {
    let mut state = node.state();
    let (database, rest) = path.split_first()?;
    let is_database = !database.starts_with('_') || ["_users", "_replicator"].contains(database);
    let is_whole = rest.is_empty() && verb != "POST" && verb != "GET";
    if state.trouble.unopenable.contains(*database) && !is_whole {
        return Some(Reply::crash("internal_server_error", "No DB shards could be opened."));
    }
    if is_database && let Some(refusal) = unopened(&state, verb, path) {
        return Some(refusal);
    }
    if !state.trouble.disk_full || !is_database || verb == "GET" {
        return None;
    }
    let failed = || Some(Reply::error(500, "error", "internal_server_error"));
    match (verb, rest) {
        ("PUT", []) if state.databases.contains_key(*database) => None,
        ("DELETE", []) => empty(&mut state, database).then(failed).flatten(),
        ("PUT", ["_security"]) => Some(Reply::error(500, "error", "no_majority")),
        ("POST", ["_all_docs" | "_compact"]) => None,
        _ => failed(),
    }
}

/// The refusal of a request on a database whose files can't be opened.
///
/// A database that is open already can be used without a further file; here these are CouchDB's own.
fn unopened(state: &State, verb: &str, path: &[&str]) -> Option<Refusal> {
    let (database, rest) = path.split_first()?;
    let is_known = state.databases.contains_key(*database);
    let unopenable = || Some(Reply::crash("internal_server_error", "No DB shards could be opened."));
    let is_renamed = state.trouble.renamed_from.is_some();
    let is_out_of_files = state.trouble.no_files && !database.starts_with('_');
    match (verb, rest) {
        ("PUT", []) if is_known => None,
        (_, ["_all_docs"]) if is_known && is_renamed => {
            Some(Reply::error(500, "nodedown", "progress not possible"))
        }
        ("GET", []) if is_out_of_files && is_known => Some(Reply::error(500, "error", "emfile")),
        ("PUT", []) if is_out_of_files => Some(Reply::error(500, "error", "internal_server_error")),
        _ if is_known && (is_renamed || is_out_of_files) => unopenable(),
        _ => None,
    }
}

/// Removes the files, but the entry in `_dbs` stays: the database is listed, empty and new.
fn empty(state: &mut State, name: &str) -> bool {
    let State { databases, trouble, .. } = state;
    let Some(database) = databases.get_mut(name) else { return false };
    let is_first = trouble.emptied.insert(name.to_owned());
    if is_first {
        *database = Database::new(database.layout());
    } else {
        trouble.emptied.remove(name);
    }
    is_first
}
