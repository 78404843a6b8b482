//! `[host]`: `trove-couchdb-hostd`, the helper that starts and stops CouchDB with root's rights.

use std::path::PathBuf;
use std::time::Duration;

use super::local::socket;
use crate::section::section;

section! {
    /// The helper that does what needs root.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct HostSettings = "host" {
        /// The socket of trove-couchdb-hostd, which starts and stops CouchDB within the limits of root's host.toml.
        /// An empty string in agent.toml disables it: commands that need it are rejected.
        socket: Option<PathBuf> = "/run/trove-couchdb-hostd/hostd.sock", by Path socket;
        /// The time limit for one request to trove-couchdb-hostd, including the wait for CouchDB's new state;
        /// host.toml may set a lower limit. Keep it below the caller's timeout (60 s for trove-couchdb).
        timeout: Duration = "50", in 1.0..=3600.0;
    }
}
