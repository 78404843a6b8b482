//! `[local]`: the Unix socket on which operators of this machine reach the agent, also while the broker is away.

use std::path::PathBuf;

use crate::error::Mistake;
use crate::inputs::Inputs;
use crate::section::section;

/// What a socket's path may be long, in bytes (`sockaddr_un`, unix(7)).
const MAX_PATH: usize = 107;

const SOCKET: &str = "local.socket";

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

impl LocalSettings {
    /// Without a broker the socket is the only way in.
    pub(crate) fn must_be_on(&self, inputs: &Inputs) -> Result<(), Mistake> {
        if self.socket.is_some() {
            return Ok(());
        }
        let advice = "set it, or a broker: with neither nobody could give the agent a command";
        Err(inputs.invalid(SOCKET, "is switched off, and broker.transport_url is local:", advice))
    }
}

/// The path of a socket, or none where it is switched off.
pub(super) fn socket(inputs: &Inputs, key: &'static str) -> Result<Option<PathBuf>, Mistake> {
    inputs.get::<Option<PathBuf>>(key)?.map(|path| of_a_socket(inputs, key, path)).transpose()
}

/// The path, if the kernel takes it for a socket.
pub(crate) fn of_a_socket(inputs: &Inputs, key: &'static str, path: PathBuf) -> Result<PathBuf, Mistake> {
    let bytes = path.as_os_str().len();
    if bytes <= MAX_PATH {
        return Ok(path);
    }
    let advice = format!("write a path of at most {MAX_PATH} bytes, the most that a socket can have");
    Err(inputs.invalid(key, format!("has {bytes} bytes"), advice))
}
