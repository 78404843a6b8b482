//! The requests that the agent sends to `trove-couchdb-hostd`, its privileged helper, and the answers.
//!
//! ```text
//! | length: 4 bytes, big-endian, at most MAX_FRAME | a Request, or an Answer, as JSON |
//! ```
//!
//! One connection carries any number of requests; each is answered before the next one is read. A request
//! names no path, unit or program: those are in root's `host.toml`. The values in a request are newtypes that
//! only validation can build, and unknown fields are refused. The agent, the helper and `doctor` share these
//! types; there is no I/O here.

mod answer;
mod words;

use serde::{Deserialize, Serialize};

pub use answer::{Answer, HostError, Outcome, Report, Seen, State};
pub use words::{RequestId, ServiceName, Within, WordError};

/// The helper's socket; the agent's `host.socket` overrides it.
pub const DEFAULT_SOCKET: &str = "/run/trove-couchdb-hostd/hostd.sock";

/// The policy file, owned by root: it defines what the helper may do.
pub const POLICY_FILE: &str = "/etc/trove-couchdb-agent/host.toml";

/// The agent's account; `host.toml` can set a different one.
pub const DEFAULT_ACCOUNT: &str = "trove-couchdb";

/// The longest frame that either side accepts, in bytes.
pub const MAX_FRAME: usize = 64 * 1024;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The request id, for the audit logs.
    pub id: RequestId,
    /// The requested action.
    pub verb: Verb,
    /// The service; without a name, the service from `host.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// The deadline; without one, the deadline from `host.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Within>,
}

/// The actions of the helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verb {
    /// Report the state of the service.
    ServiceStatus,
    /// Start the service. Does nothing if it is running.
    ServiceStart,
    /// Stop the service. Does nothing if it is stopped.
    ServiceStop,
    /// Stop the service if it is running, then start it.
    ServiceRestart,
    /// Wait until the service is in this state.
    ServiceWait(Wanted),
}

impl Verb {
    /// The names of all verbs.
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
    /// The service is running.
    Running,
    /// No process of the service is left.
    Stopped,
}

impl Wanted {
    /// The state as one word, as on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }

    /// The state with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Running, Self::Stopped].into_iter().find(|state| state.word() == word)
    }
}

#[cfg(test)]
mod tests;
