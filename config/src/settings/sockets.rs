//! `[local]`, `[host]` and `[metrics]`: the sockets that the agent listens on or connects to on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Mistake;
use crate::inputs::{Entry, Inputs};
use crate::section::section;

/// The maximum length of a socket path, in bytes (`sockaddr_un`, unix(7)).
const MAX_PATH: usize = 107;

section! {
    /// The Unix socket for operators.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct LocalSettings = "local" {
        /// The Unix socket for operators of this machine. They need no key, because the kernel identifies them. An
        /// empty string in agent.toml disables it.
        socket: Option<PathBuf> = "/run/trove-couchdb-agent/agent.sock", by Path socket;
        /// The group, by name or number, whose members may use the socket. Without it only root and the agent's own
        /// user may.
        group: Option<String>;
        /// Maximum number of simultaneous connections to the socket; further clients get an error.
        max_connections: usize = "32", in 1..=1024;
    }
}

section! {
    /// The privileged helper.
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

section! {
    /// The metrics listener.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct MetricsSettings = "metrics" {
        /// Where /metrics, /healthz and /readyz are served: ADDRESS:PORT, such as 127.0.0.1:9985 or [::1]:9985, or
        /// the absolute path of a Unix socket. If unset there is no listener.
        listen: Option<Listen>, by Text listen;
        /// Let metrics.listen name an address that other machines can reach. There is no login and no TLS: anyone
        /// who can reach it can read it.
        allow_remote: bool = "false";
        /// The group, by name or number, whose members may use the Unix socket. Without it only root and the
        /// agent's own user may.
        group: Option<String>;
        /// How many connections are served at once; others wait.
        max_connections: usize = "8", in 1..=256;
    }
}

/// A listening address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Over TCP.
    Tcp(SocketAddr),
    /// On a Unix socket.
    Unix(PathBuf),
}

/// Requires the local socket if there is no broker: without both, no client could send commands.
pub(crate) fn must_be_reachable(inputs: &Inputs) -> [Result<(), Mistake>; 1] {
    let socket = inputs.entry("local.socket");
    let problem = "is switched off, and broker.transport_url is local:";
    let advice = "set it, or configure a broker: without either the agent can't receive commands";
    [socket.ensure(socket.text().is_some(), problem, advice)]
}

/// The path of a socket; `None` if it is disabled.
fn socket(entry: Entry<'_>) -> Result<Option<PathBuf>, Mistake> {
    let path = entry.get::<Option<PathBuf>>()?;
    let bytes = path.as_ref().map_or(0, |path| path.as_os_str().len());
    let advice = format!("write a path of at most {MAX_PATH} bytes, the most that a socket can have");
    entry.ensure(bytes <= MAX_PATH, &format!("has {bytes} bytes"), &advice)?;
    Ok(path)
}

/// The metrics listener's address; `None` if metrics are disabled, which is the default.
fn listen(entry: Entry<'_>) -> Result<Option<Listen>, Mistake> {
    let Some(text) = entry.text() else { return Ok(None) };
    if text.starts_with('/') {
        return Ok(socket(entry)?.map(Listen::Unix));
    }
    let Some(address) = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0) else {
        let advice = "write ADDRESS:PORT, such as 127.0.0.1:9985, or a path that begins with /";
        return Err(entry.invalid(format!("cannot be {text:?}"), advice));
    };
    let is_allowed = address.ip().is_loopback() || entry.inputs.entry("metrics.allow_remote").get()?;
    let problem = format!("cannot be {address}, which other machines may reach");
    let advice = "write 127.0.0.1:PORT or a path, or set metrics.allow_remote = true";
    entry.ensure(is_allowed, &problem, advice)?;
    Ok(Some(Listen::Tcp(address)))
}
