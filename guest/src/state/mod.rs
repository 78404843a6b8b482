//! The guest's state that survives restarts of the agent: the progress of `prepare`, and
//! whether CouchDB was stopped on purpose.
//!
//! The agent writes the state (its module `guest` contains the transitions); the operator's tool reads it.

mod file;

pub use file::{Found, StateFile, state_in};

/// The state of a guest. `stage` and `server` are independent: a machine without Trove never gets a
/// `prepare`, but its CouchDB can be stopped on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestState {
    /// The progress of `prepare`.
    pub stage: Stage,
    /// Whether CouchDB's process was stopped on purpose.
    pub server: Server,
    /// Set if part of CouchDB's configuration only takes effect after a restart.
    pub restart_required: Option<RestartRequired>,
}

/// Why CouchDB has to be restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartRequired {
    /// The parts of the configuration that need the restart.
    pub reason: String,
    /// Linux's `boot_id` when this was set: a reboot also restarts CouchDB. `None` if it could not be read.
    pub boot_id: Option<String>,
}

/// The progress of `prepare`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stage {
    /// `prepare` has not arrived.
    #[default]
    New,
    /// `prepare` is running, or was running when the agent died.
    Building {
        /// The `_unique_id` of the first request. A later run uses it to find what the first run created.
        id: String,
    },
    /// `prepare` failed.
    Failed {
        /// As in [`Stage::Building`].
        id: String,
        /// The error that the user got.
        reason: String,
    },
    /// `prepare` is done, but CouchDB has not been healthy since.
    Settling,
    /// `prepare` is done and CouchDB has been healthy.
    Ready,
}

/// The intended or observed state of CouchDB's process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Server {
    /// CouchDB is meant to run; its supervisor keeps it running.
    #[default]
    Running,
    /// CouchDB is being stopped on purpose.
    Stopping {
        /// The new stop.
        stop: Stop,
        /// The previous stop; it applies again if stopping fails.
        before: Option<Stop>,
    },
    /// CouchDB was stopped on purpose.
    Stopped(Stop),
    /// CouchDB is being started or restarted. Not stored, because the restart continues without the agent.
    Restarting {
        /// The previous stop; it applies again if the start fails.
        before: Option<Stop>,
        /// The required restart that this restart satisfies.
        ends: Option<RestartRequired>,
    },
    /// CouchDB runs in maintenance mode. Not stored, because CouchDB itself reports it.
    Maintenance,
}

/// A stop on purpose, and how long it applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Linux's `boot_id` at the time of the stop; `None` if it could not be read.
    pub boot_id: Option<String>,
    /// Whether the stop also applies after a reboot of the machine.
    pub across_reboots: bool,
}

impl Stage {
    /// Whether `prepare` is done.
    pub fn is_prepared(&self) -> bool {
        matches!(self, Self::Settling | Self::Ready)
    }
}

impl From<Stage> for GuestState {
    fn from(stage: Stage) -> Self {
        Self { stage, ..Self::default() }
    }
}

impl Server {
    /// The stop on purpose that an agent has to respect when it starts.
    pub fn stop(&self) -> Option<&Stop> {
        match self {
            Self::Stopping { stop, .. } | Self::Stopped(stop) => Some(stop),
            Self::Restarting { before, .. } => before.as_ref(),
            Self::Running | Self::Maintenance => None,
        }
    }
}

impl Stop {
    /// Whether the stop applies in this boot of the machine. False if the boots cannot be compared: a CouchDB
    /// that a reboot started must not count as stopped.
    pub fn holds_in(&self, boot_id: Option<&str>) -> bool {
        self.across_reboots || is_same_boot(self.boot_id.as_deref(), boot_id) == Some(true)
    }
}

impl RestartRequired {
    /// Whether the restart is still required in this boot of the machine. True if the boots cannot be
    /// compared: an extra restart does no harm.
    pub fn holds_in(&self, boot_id: Option<&str>) -> bool {
        is_same_boot(self.boot_id.as_deref(), boot_id) != Some(false)
    }
}

/// `None` if one of the ids is unknown.
fn is_same_boot(one: Option<&str>, other: Option<&str>) -> Option<bool> {
    Some(one? == other?)
}
