//! `[host]`: `trove-couchdb-hostd`, the helper that starts and stops CouchDB with root's rights.

use std::path::PathBuf;
use std::time::Duration;

use super::local::socket;
use crate::section::section;

section! {
    /// The helper that does what needs root.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct HostSettings = "host" {
        /// The socket of trove-couchdb-hostd, which starts and stops CouchDB within what root's host.toml allows. An
        /// empty text in agent.toml means that there is none: what needs it is refused.
        socket: Option<PathBuf> = "/run/trove-couchdb-hostd/hostd.sock", by Path socket;
        /// How long trove-couchdb-hostd may take for one request, with the wait for CouchDB's new state; host.toml may
        /// allow less. Keep it below the timeout of those who ask (60 s for trove-couchdb).
        timeout: Duration = "50", in 1.0..=3600.0;
    }
}
