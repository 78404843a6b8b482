//! The service statuses a guest can report.
//!
//! The conductor looks a status up by its text (`trove/instance/service_status.py`) and drops heartbeats with
//! an unknown text. Three of Trove's statuses are omitted: `upgrading` cannot be looked up by its text, and
//! only the control plane uses `deleted` and `guestagent error`. Older control planes know fewer statuses
//! (PROTOCOL, section 14): those known to all are building, running, healthy, shutdown, paused, crashed,
//! failed to spawn and unknown.

use std::fmt;

/// The status of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceStatus {
    /// The database is running.
    Running,
    /// The database is running and has answered a request.
    Healthy,
    /// The database does not respond at the moment.
    Blocked,
    /// The guest is paused.
    Paused,
    /// The database was stopped.
    Shutdown,
    /// The database is down unexpectedly.
    Crashed,
    /// The database could not be started.
    FailedToSpawn,
    /// The database is being set up.
    Building,
    /// Nothing has happened yet.
    New,
    /// The guest does not know the status.
    Unknown,
    /// The guest is up; the database does not exist yet.
    InstanceReady,
    /// The database is restarting.
    Restarting,
    /// The database runs with an outdated configuration. Trove ignores all
    /// later heartbeats until its own `restart`.
    RestartRequired,
}

impl ServiceStatus {
    /// All statuses that can be sent.
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

    /// The text in a heartbeat.
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

    /// The status with this text.
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
