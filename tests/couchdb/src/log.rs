//! The request log: one entry per request, for tests that count requests or check the raw request line.
//!
//! `server` writes it after each answer (or cut); tests and `GET /_fault/log` read it. It contains no body,
//! header or password, only whether a body had a password.

use std::sync::Mutex;

use serde::Serialize;

use crate::node::lock;

/// One request as received, and its result.
#[derive(Debug, Clone, Serialize)]
pub struct LogEntry {
    /// The HTTP method.
    pub method: String,
    /// The request target exactly as sent, with percent-encoding and query.
    pub target: String,
    /// The status of the answer; `None` if the connection was cut first.
    pub status: Option<u16>,
    /// The authenticated user; `None` for anonymous requests and refused credentials.
    pub user: Option<String>,
    /// Whether the body contained a plain password: a `password` field, or an admin value that is not a hash.
    pub carried_password: bool,
}

/// All requests since the first start of the node.
#[derive(Debug, Default)]
pub struct RequestLog {
    entries: Mutex<Vec<LogEntry>>,
}

impl RequestLog {
    /// A copy of all entries, oldest first.
    pub fn entries(&self) -> Vec<LogEntry> {
        lock(&self.entries).clone()
    }

    /// The number of requests with this method and a raw path (without query) that matches the glob; `*`
    /// matches anything.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let fits = |entry: &&LogEntry| {
            entry.method == method && crate::faults::glob(path, crate::faults::path_of(&entry.target))
        };
        lock(&self.entries).iter().filter(fits).count()
    }

    /// Removes all entries.
    pub fn clear(&self) {
        lock(&self.entries).clear();
    }

    pub(crate) fn push(&self, entry: LogEntry) {
        lock(&self.entries).push(entry);
    }
}
