//! What was asked of the node: one entry per request, for tests that count requests or look at the raw request line.
//!
//! Written by `server` after each answer (or cut), read by tests and by `GET /_fault/log`. Never holds a body, a header
//! or a password: only whether a body carried one.

use std::sync::Mutex;

use serde::Serialize;

use crate::node::lock;

/// One request as it came over the wire, and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct LogEntry {
    /// The HTTP method.
    pub method: String,
    /// The request target exactly as sent, percent-encoding, query and all.
    pub target: String,
    /// The status answered; `None` if the connection was cut before one.
    pub status: Option<u16>,
    /// Who the credentials proved to be; `None` for anonymous and refused ones.
    pub user: Option<String>,
    /// Whether the body carried a plain password: a `password` field, or an admin value that is no hash.
    pub carried_password: bool,
}

/// All requests since the first start of the node.
#[derive(Debug, Default)]
pub struct RequestLog {
    entries: Mutex<Vec<LogEntry>>,
}

impl RequestLog {
    /// A copy of everything logged so far, oldest first.
    pub fn entries(&self) -> Vec<LogEntry> {
        lock(&self.entries).clone()
    }

    /// How many requests of this method had a raw path (without query) that fits the glob; `*` stands for anything.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let fits = |entry: &&LogEntry| {
            entry.method == method && crate::faults::glob(path, crate::faults::path_of(&entry.target))
        };
        lock(&self.entries).iter().filter(fits).count()
    }

    /// Forgets everything logged so far.
    pub fn clear(&self) {
        lock(&self.entries).clear();
    }

    pub(crate) fn push(&self, entry: LogEntry) {
        lock(&self.entries).push(entry);
    }
}
