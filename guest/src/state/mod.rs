//! What the agent remembers of its guest from one start to the next: how far it is on its way to being a database, and what
//! was decided about CouchDB's process.
//!
//! The agent writes it (its module `guest`, which has the transitions); the operator's tool reads it.

mod file;

pub use file::{Found, StateFile, state_in};

/// The state of a guest. The two parts are independent: a machine without Trove never gets a `prepare`, and its CouchDB can
/// still be stopped on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestState {
    /// How far `prepare` is.
    pub stage: Stage,
    /// What was decided about CouchDB's process.
    pub server: Server,
    /// CouchDB has to be restarted before all of its configuration is in force.
    pub restart_required: Option<RestartRequired>,
}

/// Why CouchDB has to be restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartRequired {
    /// The parts of its configuration that wait for it.
    pub reason: String,
    /// Linux's `boot_id` when that was found: a reboot is a restart, too. `None` if it could not be read.
    pub boot_id: Option<String>,
}

/// How far this guest is on its way to being a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stage {
    /// `prepare` has not come.
    #[default]
    New,
    /// It is being carried out, or was when the last agent died.
    Building {
        /// The `_unique_id` of the request that began it: a later one finds by it what that one made.
        id: String,
    },
    /// It could not be carried out.
    Failed {
        /// As in [`Stage::Building`].
        id: String,
        /// Why, in the words that the user was given.
        reason: String,
    },
    /// It is done, and CouchDB has not been seen healthy since.
    Settling,
    /// The guest is a database.
    Ready,
}

/// What was decided about CouchDB's process, or seen of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Server {
    /// It is to run, which its supervisor sees to.
    #[default]
    Running,
    /// It is being stopped on purpose.
    Stopping {
        /// What will hold.
        stop: Stop,
        /// What held before; it holds again if CouchDB is not stopped.
        before: Option<Stop>,
    },
    /// It was stopped on purpose.
    Stopped(Stop),
    /// It is being started, or restarted. Not remembered: what restarts it goes on without the agent.
    Restarting {
        /// What held before; it holds again if CouchDB is not started.
        before: Option<Stop>,
        /// What this restart makes unnecessary.
        ends: Option<RestartRequired>,
    },
    /// It runs in CouchDB's maintenance mode. Not remembered: CouchDB says so itself.
    Maintenance,
}

/// A stop on purpose, and how long it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Linux's `boot_id` when it was decided; `None` if that could not be read.
    pub boot_id: Option<String>,
    /// It also holds after a reboot of the machine.
    pub across_reboots: bool,
}

impl Stage {
    /// Whether `prepare` has nothing left to do.
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
    /// The stop on purpose that an agent which starts now has to heed.
    pub fn stop(&self) -> Option<&Stop> {
        match self {
            Self::Stopping { stop, .. } | Self::Stopped(stop) => Some(stop),
            Self::Restarting { before, .. } => before.as_ref(),
            Self::Running | Self::Maintenance => None,
        }
    }
}

impl Stop {
    /// Whether it still holds for an agent that starts in this boot of the machine. Where boots can't be told apart, it does
    /// not: a CouchDB that was started by a reboot must not be taken for stopped.
    pub fn holds_in(&self, boot_id: Option<&str>) -> bool {
        self.across_reboots || is_same_boot(self.boot_id.as_deref(), boot_id) == Some(true)
    }
}

impl RestartRequired {
    /// Whether it is still to be done for an agent that starts in this boot of the machine. Where boots can't be told apart, it
    /// is: one restart too many does no harm.
    pub fn holds_in(&self, boot_id: Option<&str>) -> bool {
        is_same_boot(self.boot_id.as_deref(), boot_id) != Some(false)
    }
}

/// `None` if that can't be told.
fn is_same_boot(one: Option<&str>, other: Option<&str>) -> Option<bool> {
    Some(one? == other?)
}
