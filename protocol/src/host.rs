//! What the agent asks of `trove-couchdb-hostd`, its privileged helper, and what the helper answers.
//!
//! ```text
//! | length: 4 bytes, big-endian, at most MAX_FRAME | a Request, or an Answer, as JSON |
//! ```
//!
//! One connection carries any number of requests; each is answered before the next one is read. A request names no path,
//! no unit and no program: those are in root's `host.toml`. What it does name is a newtype that only validation builds,
//! and a field that nobody knows is refused. Types only, no I/O: the agent, the helper and `doctor` share them.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Where the helper listens unless the agent's `host.socket` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/trove-couchdb-hostd/hostd.sock";

/// Root's file, which says what the helper may do.
pub const POLICY_FILE: &str = "/etc/trove-couchdb-agent/host.toml";

/// The account that the agent runs as unless `host.toml` names a different one.
pub const DEFAULT_ACCOUNT: &str = "trove-couchdb";

/// The longest frame that either side accepts.
pub const MAX_FRAME: usize = 64 * 1024;

/// The longest name and the longest id.
const MAX_WORD: usize = 64;

/// A word from outside that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// Not a service's name.
    #[error(
        "a service's name has 1 to 64 lower-case letters, digits and `.`, `_`, `-`, and begins with a letter or digit"
    )]
    Service,
    /// Not an id.
    #[error("a request's id has 1 to 64 letters, digits, `_` and `-`")]
    Id,
    /// Not a time limit.
    #[error("a time limit is a whole number of seconds from 1 to 3600")]
    Within,
}

/// The name by which `host.toml` knows a service: a label, not the name of a unit or of a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

impl ServiceName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServiceName {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        let letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = text.len() <= MAX_WORD
            && text.as_bytes().first().is_some_and(letter)
            && text.bytes().all(|byte| letter(&byte) || b"._-".contains(&byte));
        if fits { Ok(Self(text)) } else { Err(WordError::Service) }
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Which request it is, in both audit logs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(String);

impl RequestId {
    /// For a request that has no id of its own.
    pub fn unnamed() -> Self {
        Self("unnamed".to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RequestId {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let fits = (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(letter);
        if fits { Ok(Self(text)) } else { Err(WordError::Id) }
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.0
    }
}

/// How long the helper may take, in whole seconds. `host.toml` may allow less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Within(u16);

impl Within {
    /// The longest.
    pub const MAX: Self = Self(3600);

    /// As a length of time.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }

    /// A length of time, cut to what a request may ask for.
    pub fn at_most(duration: Duration) -> Self {
        let seconds = duration.as_secs().clamp(1, Self::MAX.0.into());
        u16::try_from(seconds).map_or(Self::MAX, Self)
    }
}

impl TryFrom<u64> for Within {
    type Error = WordError;

    fn try_from(seconds: u64) -> Result<Self, WordError> {
        let whole =
            u16::try_from(seconds).ok().map(Self).filter(|within| *within <= Self::MAX && within.0 > 0);
        whole.ok_or(WordError::Within)
    }
}

impl From<Within> for u64 {
    fn from(within: Within) -> Self {
        within.0.into()
    }
}

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

/// What a service manager says of a service, in words that all of them have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its process is up. Whether CouchDB answers is not known here.
    Running,
    /// Between two states, or about to be started again by its manager.
    Changing,
    /// No process, and nothing went wrong.
    Stopped,
    /// No process, after an error.
    Failed,
}

impl State {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Changing => "changing",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Whether this is what is waited for.
    pub fn is(self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::Running => self == Self::Running,
            Wanted::Stopped => matches!(self, Self::Stopped | Self::Failed),
        }
    }
}

/// A service as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// In words that all service managers have.
    pub state: State,
    /// In the service manager's own words, such as `active (running)`.
    pub detail: String,
    /// The main process, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_pid: Option<u32>,
    /// What differs from one start to the next: systemd's invocation id, a container's id and start time, a process's start
    /// time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.state.word(), self.detail)
    }
}

/// What came of a request that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which service.
    pub service: ServiceName,
    /// The state that was seen when all was done.
    #[serde(flatten)]
    pub seen: Seen,
    /// Whether the helper changed anything.
    pub changed: bool,
}

/// Why a request was refused, or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum HostError {
    /// The process at the other end may ask for nothing.
    #[error(
        "uid {uid} may not use trove-couchdb-hostd: only root and the account of host.toml's hostd.account may"
    )]
    Forbidden {
        /// Its account.
        uid: u32,
    },
    /// Not a request.
    #[error("trove-couchdb-hostd can't read the request: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// Not within root's policy.
    #[error("{what} is not allowed by host.toml: {advice}")]
    NotAllowed {
        /// What was asked for.
        what: String,
        /// What is allowed, or how to allow it.
        advice: String,
    },
    /// Nothing is allowed, since root's policy can't be used.
    #[error("trove-couchdb-hostd has no valid policy and does nothing: {reason}")]
    Policy {
        /// What is wrong with the file.
        reason: String,
    },
    /// A change is being made.
    #[error("trove-couchdb-hostd is busy with {verb}; try again when it is done")]
    Busy {
        /// Which change.
        verb: String,
    },
    /// Too many are connected.
    #[error("trove-couchdb-hostd serves {limit} connections already; try again later")]
    Overloaded {
        /// How many are served.
        limit: usize,
    },
    /// The service manager refused, or can't be asked.
    #[error("{backend} failed: {reason}")]
    Backend {
        /// Which service manager.
        backend: String,
        /// What it said.
        reason: String,
    },
    /// The state that was wanted was not seen in time.
    #[error("service {service} is not {wanted} after {seconds} s: it is {}; look at its log", seen_or_unknown(.seen.as_ref()))]
    Late {
        /// Which service.
        service: ServiceName,
        /// The state that was wanted.
        wanted: String,
        /// How long it was waited for.
        seconds: u64,
        /// What was seen last.
        seen: Option<Seen>,
    },
}

fn seen_or_unknown(seen: Option<&Seen>) -> String {
    seen.map_or_else(
        || "in an unknown state (its service manager does not answer)".to_owned(),
        Seen::to_string,
    )
}

impl HostError {
    /// The kind, from a fixed set: the audit log's outcome.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Forbidden { .. } => "forbidden",
            Self::Malformed { .. } => "malformed",
            Self::NotAllowed { .. } => "not-allowed",
            Self::Policy { .. } => "policy",
            Self::Busy { .. } => "busy",
            Self::Overloaded { .. } => "overloaded",
            Self::Backend { .. } => "backend",
            Self::Late { .. } => "late",
        }
    }
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which request; none if the helper could not read it, or would not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was carried out.
    Done(Report),
    /// It was refused, or failed.
    Failed(HostError),
}

impl From<Result<Report, HostError>> for Outcome {
    fn from(result: Result<Report, HostError>) -> Self {
        result.map_or_else(Self::Failed, Self::Done)
    }
}

#[cfg(test)]
mod tests;
