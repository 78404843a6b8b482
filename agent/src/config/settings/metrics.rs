//! `[metrics]`: where Prometheus and a health check find the agent.
//!
//! Off unless it is asked for: a guest whose metrics nobody reads has no listener for them.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::local::MAX_PATH;
use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};

pub(in crate::config) const KEYS: &[Key] = &[
    Key::new(
        "metrics.listen",
        Kind::Text,
        "Where /metrics, /healthz and /readyz answer: ADDRESS:PORT, such as 127.0.0.1:9985 or [::1]:9985, or the \
         absolute path of a Unix socket. Not set: nowhere.",
    ),
    Key::new(
        "metrics.allow_remote",
        Kind::Flag,
        "Let metrics.listen name an address that other machines reach. There is no login and no TLS: whoever reaches it \
         can read it.",
    )
    .default("false"),
    Key::new(
        "metrics.group",
        Kind::Text,
        "The group, by name or number, whose members may use the Unix socket. Without it only root and the agent's own \
         user may.",
    ),
    Key::new(
        "metrics.max_connections",
        Kind::Count,
        "How many are served at once; the others wait until one is done.",
    )
    .default("8"),
];

/// Where metrics are to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSettings {
    /// The place; none if they are switched off.
    pub listen: Option<Listen>,
    /// Who may use a Unix socket beside root and the agent's own user: a group's name, or its number.
    pub group: Option<String>,
    /// Whether an address that is not this machine's own is allowed.
    pub allow_remote: bool,
    /// The most connections at once.
    pub max_connections: usize,
}

/// A place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Over TCP.
    Tcp(SocketAddr),
    /// On a Unix socket.
    Unix(PathBuf),
}

impl MetricsSettings {
    pub(super) fn from_input(input: Section<'_>) -> Result<Self, ConfigError> {
        let allow_remote = input.flag("allow_remote")?;
        let listen = input.text("listen")?.map(|text| place(&text, input)).transpose()?;
        if let Some(Listen::Tcp(address)) = &listen
            && !address.ip().is_loopback()
            && !allow_remote
        {
            let problem = format!("cannot be {address}, which other machines may reach");
            let advice = "write 127.0.0.1:PORT or a path, or set metrics.allow_remote = true";
            return Err(input.invalid("listen", problem, advice));
        }
        Ok(Self {
            listen,
            group: input.text("group")?,
            allow_remote,
            max_connections: input.count("max_connections", 1..=256)?,
        })
    }
}

fn place(text: &str, input: Section<'_>) -> Result<Listen, ConfigError> {
    if text.starts_with('/') {
        if text.len() > MAX_PATH {
            let advice = format!("write a path of at most {MAX_PATH} bytes, the most that a socket can have");
            return Err(input.invalid("listen", format!("has {} bytes", text.len()), advice));
        }
        return Ok(Listen::Unix(text.into()));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Listen::Tcp(address)),
        _ => {
            let advice = "write ADDRESS:PORT, such as 127.0.0.1:9985, or a path that begins with /";
            Err(input.invalid("listen", format!("cannot be {text:?}"), advice))
        }
    }
}
