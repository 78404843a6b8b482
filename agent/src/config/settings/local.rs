//! `[local]`: the Unix socket on which operators of this machine reach the agent, also while the broker is away.

use std::path::PathBuf;

use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};

/// What a socket's path may be long, in bytes (`sockaddr_un`, unix(7)).
pub(super) const MAX_PATH: usize = 107;

pub(in crate::config) const KEYS: &[Key] = &[
    Key::new(
        "local.socket",
        Kind::Path,
        "The Unix socket for operators of this machine; they need no key, as the kernel vouches for them. An empty \
         text in agent.toml switches it off.",
    )
    .default("/run/trove-couchdb-agent/agent.sock"),
    Key::new(
        "local.group",
        Kind::Text,
        "The group, by name or number, whose members may use the socket. Without it only root and the agent's own \
         user may.",
    ),
    Key::new(
        "local.max_connections",
        Kind::Count,
        "How many may be connected to the socket at once; one more is told so.",
    )
    .default("32"),
];

/// The Unix socket for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSettings {
    /// Its path; none if it is switched off.
    pub socket: Option<PathBuf>,
    /// Who may use it beside root and the agent's own user: a group's name, or its number.
    pub group: Option<String>,
    /// The most connections at once.
    pub max_connections: usize,
}

impl LocalSettings {
    pub(super) fn from_input(input: Section<'_>) -> Result<Self, ConfigError> {
        let socket = input.path("socket")?;
        if let Some(path) = &socket
            && path.as_os_str().len() > MAX_PATH
        {
            let problem = format!("has {} bytes", path.as_os_str().len());
            let advice = format!("write a path of at most {MAX_PATH} bytes, the most that a socket can have");
            return Err(input.invalid("socket", problem, advice));
        }
        Ok(Self {
            socket,
            group: input.text("group")?,
            max_connections: input.count("max_connections", 1..=1024)?,
        })
    }

    /// Without a broker the socket is the only way in.
    pub(super) fn must_be_on(&self, input: Section<'_>) -> Result<(), ConfigError> {
        if self.socket.is_some() {
            return Ok(());
        }
        let advice = "set it, or a broker: with neither nobody could give the agent a command";
        Err(input.invalid("socket", "is switched off, and broker.transport_url is local:", advice))
    }
}
