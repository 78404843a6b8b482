//! What the agent asks of `trove-couchdb-hostd`, its privileged helper, and what the helper answers.
//!
//! ```text
//! | length: 4 bytes, big-endian, at most MAX_FRAME | a Request, or an Answer, as JSON |
//! ```
//!
//! One connection carries any number of requests; each is answered before the next one is read. A request names no path,
//! no unit and no program: those are in root's `host.toml`. What it does name is a newtype that only validation builds,
//! and an unknown field is refused. Types only, no I/O: the agent, the helper and `doctor` share them.

mod answer;
mod words;

use serde::{Deserialize, Serialize};

pub use answer::{Answer, HostError, Outcome, Report, Seen, State};
pub use words::{RequestId, ServiceName, Within, WordError};

/// Where the helper listens unless the agent's `host.socket` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/trove-couchdb-hostd/hostd.sock";

/// Root's file, which says what the helper may do.
pub const POLICY_FILE: &str = "/etc/trove-couchdb-agent/host.toml";

/// The account that the agent runs as unless `host.toml` names a different one.
pub const DEFAULT_ACCOUNT: &str = "trove-couchdb";

/// The longest frame that either side accepts.
pub const MAX_FRAME: usize = 64 * 1024;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Which one, for the audit logs.
    pub id: RequestId,
    /// What is asked for.
    pub verb: Verb,
    /// Of which service; without a name of the one that `host.toml` has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// The deadline; without one `host.toml`'s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Within>,
}

/// What the helper can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verb {
    /// What state the service is in.
    ServiceStatus,
    /// Start it; nothing is done to one that runs.
    ServiceStart,
    /// Stop it; nothing is done to one that is stopped.
    ServiceStop,
    /// Stop it if it runs, and start it.
    ServiceRestart,
    /// Wait until it is in this state.
    ServiceWait(Wanted),
}

impl Verb {
    /// Every verb's name.
    pub const NAMES: [&'static str; 5] =
        ["service-status", "service-start", "service-stop", "service-restart", "service-wait"];

    /// The name on the wire, in `host.toml`'s `allow` and in the audit log.
    pub fn name(self) -> &'static str {
        let [status, start, stop, restart, wait] = Self::NAMES;
        match self {
            Self::ServiceStatus => status,
            Self::ServiceStart => start,
            Self::ServiceStop => stop,
            Self::ServiceRestart => restart,
            Self::ServiceWait(_) => wait,
        }
    }
}

/// A state to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// It runs.
    Running,
    /// No process of it is left.
    Stopped,
}

impl Wanted {
    /// The state in one word, as on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }

    /// The state of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Running, Self::Stopped].into_iter().find(|state| state.word() == word)
    }
}

#[cfg(test)]
mod tests;
