//! What the helper answers: the state that it saw, or why it did not do what was asked.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{RequestId, ServiceName, Wanted};

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

/// The result of a request that was carried out.
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
    /// The outcome.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The outcome of a request.
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
