//! `[host]`: `trove-couchdb-hostd`, the helper that starts and stops CouchDB with root's rights.

use std::{path::PathBuf, time::Duration};

use super::local::MAX_PATH;
use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};

pub(in crate::config) const KEYS: &[Key] = &[
    Key::new(
        "host.socket",
        Kind::Path,
        "The socket of trove-couchdb-hostd, which starts and stops CouchDB within what root's host.toml allows. An empty \
         text in agent.toml means that there is none: what needs it is refused.",
    )
    .default("/run/trove-couchdb-hostd/hostd.sock"),
    Key::new(
        "host.timeout",
        Kind::Seconds,
        "How long trove-couchdb-hostd may take for one request, with the wait for CouchDB's new state; host.toml may \
         allow less. Keep it below the timeout of those who ask (60 s for trove-couchdb).",
    )
    .default("50"),
];

/// The helper that does what needs root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// Its socket; none if the agent is to go without it.
    pub socket: Option<PathBuf>,
    /// How long it may take: a second to an hour.
    pub timeout: Duration,
}

impl HostSettings {
    pub(super) fn from_input(input: Section<'_>) -> Result<Self, ConfigError> {
        let socket = input.path("socket")?;
        if let Some(path) = &socket
            && path.as_os_str().len() > MAX_PATH
        {
            let problem = format!("has {} bytes", path.as_os_str().len());
            let advice = format!("write a path of at most {MAX_PATH} bytes, the most that a socket can have");
            return Err(input.invalid("socket", problem, advice));
        }
        Ok(Self { socket, timeout: input.seconds("timeout", 1.0..=3600.0)? })
    }
}
