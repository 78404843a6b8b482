//! The actions of the helper.

use serde::{Deserialize, Serialize};

use super::Lines;

/// An action of the helper. Each belongs to one [`Section`] of `host.toml`, whose `allow` must name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Report the last lines of CouchDB's log.
    LogTail(Lines),
}

/// The section of `host.toml` that allows a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `[service]`: CouchDB's process.
    Service,
    /// `[couchdb]`: CouchDB's files.
    CouchDb,
}

impl Section {
    /// The name in `host.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::CouchDb => "couchdb",
        }
    }
}

impl Verb {
    /// The verbs that a section may allow, by name.
    pub fn names_of(section: Section) -> &'static [&'static str] {
        match section {
            Section::Service => {
                &["service-status", "service-start", "service-stop", "service-restart", "service-wait"]
            }
            Section::CouchDb => &["log-tail"],
        }
    }

    /// The name on the wire, in `allow` and in the audit log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ServiceStatus => "service-status",
            Self::ServiceStart => "service-start",
            Self::ServiceStop => "service-stop",
            Self::ServiceRestart => "service-restart",
            Self::ServiceWait(_) => "service-wait",
            Self::LogTail(_) => "log-tail",
        }
    }

    /// The section whose `allow` must name the verb.
    pub fn section(&self) -> Section {
        match self {
            Self::ServiceStatus
            | Self::ServiceStart
            | Self::ServiceStop
            | Self::ServiceRestart
            | Self::ServiceWait(_) => Section::Service,
            Self::LogTail(_) => Section::CouchDb,
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
