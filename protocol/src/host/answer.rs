//! The helper's answers: a report, whose type follows from the verb, or an error.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{RequestId, ServiceName, VolumeReport, Wanted};

/// The state of a service, in terms common to all service managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The process is up. Whether CouchDB responds is not checked.
    Running,
    /// Between two states, or waiting for an automatic restart.
    Changing,
    /// No process, and no error.
    Stopped,
    /// No process, after an error.
    Failed,
}

impl State {
    /// The state as one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Changing => "changing",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Whether this satisfies the awaited state.
    pub fn is(self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::Running => self == Self::Running,
            Wanted::Stopped => matches!(self, Self::Stopped | Self::Failed),
        }
    }
}

/// The observed state of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The state in terms common to all service managers.
    pub state: State,
    /// The state in the service manager's own words, such as `active (running)`.
    pub detail: String,
    /// The main process, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_pid: Option<u32>,
    /// An id that changes with each start: systemd's invocation id, a container's id and
    /// start time, or a process's start time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

impl fmt::Display for Observed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.state.word(), self.detail)
    }
}

/// The result of a completed request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// The service.
    pub service: ServiceName,
    /// The state after the request.
    #[serde(flatten)]
    pub observed: Observed,
    /// Whether the helper changed anything.
    pub changed: bool,
}

/// The last lines of CouchDB's log, from each place where the service may have written some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTail {
    /// The places, the most telling one last.
    pub sources: Vec<LogSource>,
}

/// The last lines from one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSource {
    /// A file, the journal of a unit, or a container.
    pub name: String,
    /// The lines, oldest first. They may contain secrets: redact them before they are shown.
    pub lines: Vec<String>,
    /// Why the place can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The report on a completed request. The helper writes it; a client knows from its verb which type to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Done {
    /// Verbs of [`Section::Service`](super::Section::Service).
    Service(ServiceReport),
    /// `log-tail`.
    Log(LogTail),
    /// Verbs of [`Section::Volume`](super::Section::Volume).
    Volume(VolumeReport),
}

impl Done {
    /// Whether the helper changed anything.
    pub fn changed(&self) -> bool {
        match self {
            Self::Service(report) => report.changed,
            Self::Log(_) => false,
            Self::Volume(report) => report.changed,
        }
    }

    /// The state that the request led to, as one word for the audit log.
    pub fn state(&self) -> Option<&'static str> {
        match self {
            Self::Service(report) => Some(report.observed.state.word()),
            Self::Log(_) => None,
            Self::Volume(report) => Some(report.state.word()),
        }
    }
}

/// Why a request was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum HostError {
    /// The client's account is not allowed to use the helper.
    #[error(
        "uid {uid} may not use trove-couchdb-hostd: only root and the account of host.toml's hostd.account may"
    )]
    Forbidden {
        /// The client's account.
        uid: u32,
    },
    /// Not a valid request.
    #[error("trove-couchdb-hostd can't read the request: {reason}")]
    Malformed {
        /// Why it cannot be read.
        reason: String,
    },
    /// Root's policy does not allow the request.
    #[error("{what} is not allowed by host.toml: {advice}")]
    NotAllowed {
        /// The request.
        what: String,
        /// What is allowed, or how to allow it.
        advice: String,
    },
    /// Root's policy cannot be used, so every request is refused.
    #[error("trove-couchdb-hostd has no valid policy and does nothing: {reason}")]
    Policy {
        /// What is wrong with the file.
        reason: String,
    },
    /// Another change is in progress.
    #[error("trove-couchdb-hostd is busy with {verb}; try again when it is done")]
    Busy {
        /// The change in progress.
        verb: String,
    },
    /// Too many connections.
    #[error("trove-couchdb-hostd serves {limit} connections already; try again later")]
    Overloaded {
        /// The maximum number of connections.
        limit: usize,
    },
    /// The service manager refused or cannot be reached.
    #[error("{backend} failed: {reason}")]
    Backend {
        /// The service manager.
        backend: String,
        /// Its error.
        reason: String,
    },
    /// A program that the helper ran failed, was killed, or can't be run.
    #[error("{program} failed: {reason}")]
    Task {
        /// The program.
        program: String,
        /// Its exit status and the last lines of its output.
        reason: String,
    },
    /// The volume is not as the request needs it. Nothing was changed.
    #[error("CouchDB's volume: {reason}")]
    Volume {
        /// What is wrong, with which device, and what to do.
        reason: String,
    },
    /// The service did not reach the requested state in time.
    #[error("service {service} is not {wanted} after {seconds} s: it is {}; look at its log", observed_or_unknown(.observed.as_ref()))]
    Late {
        /// The service.
        service: ServiceName,
        /// The requested state.
        wanted: String,
        /// How long the helper waited.
        seconds: u64,
        /// The last observed state.
        #[serde(rename = "seen")]
        observed: Option<Observed>,
    },
}

fn observed_or_unknown(observed: Option<&Observed>) -> String {
    observed.map_or_else(
        || "in an unknown state (its service manager does not answer)".to_owned(),
        Observed::to_string,
    )
}

impl HostError {
    /// The kind of error, from a fixed set; the outcome in the audit log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Forbidden { .. } => "forbidden",
            Self::Malformed { .. } => "malformed",
            Self::NotAllowed { .. } => "not-allowed",
            Self::Policy { .. } => "policy",
            Self::Busy { .. } => "busy",
            Self::Overloaded { .. } => "overloaded",
            Self::Backend { .. } => "backend",
            Self::Task { .. } => "task",
            Self::Volume { .. } => "volume",
            Self::Late { .. } => "late",
        }
    }
}

/// The answer to one request, with a report of type `R`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer<R> {
    /// The request id; `None` if the helper could not read the request or refused to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: Outcome<R>,
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome<R> {
    /// The request was completed.
    Done(R),
    /// The request was refused or failed.
    Failed(HostError),
}

impl<R> From<Result<R, HostError>> for Outcome<R> {
    fn from(result: Result<R, HostError>) -> Self {
        result.map_or_else(Self::Failed, Self::Done)
    }
}
