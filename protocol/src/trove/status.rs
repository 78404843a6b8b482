//! The service statuses a guest can report.
//!
//! The conductor knows them by their text (`trove/instance/service_status.py`) and drops a heartbeat with any other.
//! Three of Trove's are left out: `upgrading` cannot be looked up by its text, `deleted` and `guestagent error` are the
//! control plane's own. Old control planes know fewer (PROTOCOL, section 14): to be safe with them send only
//! building, running, healthy, shutdown, paused, crashed, failed to spawn and unknown.

use std::fmt;

/// What state the database is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceStatus {
    /// It runs.
    Running,
    /// It runs, and a real request was answered.
    Healthy,
    /// It does not answer at the moment.
    Blocked,
    /// The guest is paused.
    Paused,
    /// It was stopped.
    Shutdown,
    /// It is down and should not be.
    Crashed,
    /// It could not be brought up.
    FailedToSpawn,
    /// It is being brought up.
    Building,
    /// Nothing has happened yet.
    New,
    /// The guest cannot say.
    Unknown,
    /// The guest is up, the database is not there yet.
    InstanceReady,
    /// It is about to run again.
    Restarting,
    /// It runs with an outdated configuration. Trove ignores every heartbeat after this one until its own `restart`.
    RestartRequired,
}

impl ServiceStatus {
    /// All that can be sent.
    pub const ALL: [Self; 13] = [
        Self::Running,
        Self::Healthy,
        Self::Blocked,
        Self::Paused,
        Self::Shutdown,
        Self::Crashed,
        Self::FailedToSpawn,
        Self::Building,
        Self::New,
        Self::Unknown,
        Self::InstanceReady,
        Self::Restarting,
        Self::RestartRequired,
    ];

    /// The text that the conductor looks up.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Healthy => "healthy",
            Self::Blocked => "blocked",
            Self::Paused => "paused",
            Self::Shutdown => "shutdown",
            Self::Crashed => "crashed",
            Self::FailedToSpawn => "failed to spawn",
            Self::Building => "building",
            Self::New => "new",
            Self::Unknown => "unknown",
            Self::InstanceReady => "instance ready",
            Self::Restarting => "restarting",
            Self::RestartRequired => "restart required",
        }
    }

    /// The status of that text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for ServiceStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_lead_back_to_their_statuses() {
        for status in ServiceStatus::ALL {
            assert_eq!(ServiceStatus::from_text(status.as_str()), Some(status));
        }
        assert_eq!(ServiceStatus::from_text("upgrading"), None);
        assert_eq!(ServiceStatus::from_text("Running"), None);
    }
}
