//! The requests that the agent sends to `trove-couchdb-hostd`, its privileged helper, and the answers.
//!
//! ```text
//! | length: 4 bytes, big-endian, at most MAX_FRAME | a Request, or an Answer, as JSON |
//! ```
//!
//! One connection carries any number of requests; each is answered before the next one is read. A request
//! names no path, unit or program: those are in root's `host.toml`. The one exception is a device for the
//! volume, which counts only within the devices that `host.toml` names. The values in a request are newtypes that
//! only validation can build, and unknown fields are refused. The agent, the helper and `doctor` share these
//! types; there is no I/O here.

mod answer;
mod verb;
mod volume;
mod words;

use serde::{Deserialize, Serialize};

pub use answer::{Answer, Done, HostError, LogSource, LogTail, Observed, Outcome, ServiceReport, State};
pub use verb::{Section, Verb, Wanted};
pub use volume::{VolumeReport, VolumeState};
pub use words::{DevicePath, Lines, RequestId, ServiceName, Within, WordError};

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

#[cfg(test)]
mod tests;
