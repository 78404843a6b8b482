//! What may happen to a guest, and what it is then. Pure: the [owner](super::owner) writes it down and tells it.

use std::fmt;

use super::{GuestState, Server, Stage, Stop};
use crate::couch::Health;

/// What may happen to a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `prepare`, the request of this id, begins, for the first time or again.
    PrepareBegins {
        /// Its `_unique_id`.
        id: String,
    },
    /// `prepare` is done.
    PrepareDone,
    /// `prepare`, the request of this id, has failed for good.
    PrepareFailed {
        /// Its `_unique_id`.
        id: String,
        /// In the words that the user is given.
        reason: String,
    },
    /// A `prepare` was refused as it stands, or a `rebuild`, without which the guest can't become a database.
    PrepareRefused {
        /// Its `_unique_id`.
        id: String,
        /// In the words that the user is given.
        reason: String,
    },
    /// Nobody goes on with the `prepare` that an earlier agent began.
    PrepareInterrupted {
        /// Why.
        reason: String,
    },
    /// The guest was seen healthy after `prepare`, or has had its time to become it.
    Settled,
    /// The stage that an operator wrote into the file.
    WrittenByOperator(Stage),
    /// CouchDB is about to be stopped on purpose.
    StopBegins(Stop),
    /// CouchDB was stopped, or it is not known that it was.
    StopEnded {
        /// It is down.
        succeeded: bool,
    },
    /// CouchDB is about to be started, or restarted.
    StartBegins,
    /// CouchDB was started, or could not be.
    StartEnded {
        /// It runs, and has read its configuration.
        succeeded: bool,
    },
    /// A part of CouchDB's configuration is only in force after a restart.
    RestartRequired {
        /// Which part.
        reason: String,
    },
    /// CouchDB was asked how it is.
    Seen(Health),
    /// The machine was booted.
    Booted {
        /// Linux's `boot_id` now.
        boot_id: Option<String>,
    },
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::PrepareBegins { .. } => "prepare begins",
            Self::PrepareDone => "prepare is done",
            Self::PrepareFailed { .. } => "prepare failed",
            Self::PrepareRefused { .. } => "prepare was refused",
            Self::PrepareInterrupted { .. } => "prepare was interrupted",
            Self::Settled => "the guest has settled",
            Self::WrittenByOperator(_) => "an operator wrote the stage",
            Self::StopBegins(_) => "CouchDB is stopped",
            Self::StopEnded { .. } => "the stop has ended",
            Self::StartBegins => "CouchDB is started",
            Self::StartEnded { .. } => "the start has ended",
            Self::RestartRequired { .. } => "a restart is required",
            Self::Seen(_) => "CouchDB was asked",
            Self::Booted { .. } => "the machine was booted",
        }
    }
}

/// What can't happen in this state. The state stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} can't happen now: {state}", event.name())]
pub struct Illegal {
    event: Event,
    state: Shown,
}

/// A state in words, without the reasons in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown(GuestState);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the guest is {}, CouchDB is {}", stage_word(&self.0.stage), server_word(&self.0.server))
    }
}

/// A stage in one word, for reports.
pub fn stage_word(stage: &Stage) -> &'static str {
    match stage {
        Stage::New => "new",
        Stage::Building { .. } => "building",
        Stage::Failed { .. } => "failed",
        Stage::Settling => "settling",
        Stage::Ready => "ready",
    }
}

/// What was decided about CouchDB's process in one word, for reports.
pub fn server_word(server: &Server) -> &'static str {
    match server {
        Server::Running => "running",
        Server::Stopping(_) => "stopping",
        Server::Stopped(_) => "stopped",
        Server::Restarting { .. } => "restarting",
        Server::Maintenance => "maintenance",
    }
}

/// The state after an event. An event that changes nothing gives the same state.
///
/// # Errors
/// The event can't happen in this state.
pub fn next(state: &GuestState, event: Event) -> Result<GuestState, Illegal> {
    let illegal = |event| Err(Illegal { event, state: Shown(state.clone()) });
    let in_stage = |stage| Ok(GuestState { stage, ..state.clone() });
    let with_server = |server| Ok(GuestState { server, ..state.clone() });
    match (&state.stage, &state.server, event) {
        (Stage::New, _, Event::PrepareBegins { id }) => in_stage(Stage::Building { id }),
        // The first one stays: a later run finds by its id what it made.
        (Stage::Building { id } | Stage::Failed { id, .. }, _, Event::PrepareBegins { .. }) => {
            in_stage(Stage::Building { id: id.clone() })
        }
        (Stage::Building { .. }, _, Event::PrepareDone) => in_stage(Stage::Settling),
        (Stage::New, _, Event::PrepareFailed { id, reason } | Event::PrepareRefused { id, reason }) => {
            in_stage(Stage::Failed { id, reason })
        }
        (Stage::Building { id } | Stage::Failed { id, .. }, _, Event::PrepareFailed { reason, .. }) => {
            in_stage(Stage::Failed { id: id.clone(), reason })
        }
        // Another `prepare` that is under way goes on.
        (Stage::Building { id: first }, _, Event::PrepareRefused { id, reason }) if *first == id => {
            in_stage(Stage::Failed { id, reason })
        }
        (Stage::Building { id }, _, Event::PrepareInterrupted { reason }) => {
            in_stage(Stage::Failed { id: id.clone(), reason })
        }
        (Stage::Settling, _, Event::Settled) => in_stage(Stage::Ready),
        // What the disk did not take is known better here, unless somebody says that nothing more is to be done.
        (now, _, Event::WrittenByOperator(stage)) => {
            let counts = !now.is_prepared() && (*now == Stage::New || stage.is_prepared());
            if counts { in_stage(stage) } else { Ok(state.clone()) }
        }

        (_, Server::Running | Server::Maintenance | Server::Stopped(_), Event::StopBegins(stop)) => {
            with_server(Server::Stopping(stop))
        }
        (_, Server::Stopping(stop), Event::StopEnded { succeeded: true }) => {
            with_server(Server::Stopped(stop.clone()))
        }
        // A look will say what has become of it.
        (_, Server::Stopping(_), Event::StopEnded { succeeded: false }) => with_server(Server::Running),
        (_, Server::Running | Server::Maintenance | Server::Stopped(_), Event::StartBegins) => {
            with_server(Server::Restarting { before: state.server.stop().cloned() })
        }
        (_, Server::Restarting { .. }, Event::StartEnded { succeeded: true }) => {
            Ok(GuestState { server: Server::Running, restart_required: None, ..state.clone() })
        }
        (_, Server::Restarting { before }, Event::StartEnded { succeeded: false }) => {
            with_server(before.clone().map_or(Server::Running, Server::Stopped))
        }
        // Both reasons count until the restart.
        (_, _, Event::RestartRequired { reason }) => {
            let reason = match &state.restart_required {
                Some(before) if *before != reason => format!("{before}, {reason}"),
                _ => reason,
            };
            Ok(GuestState { restart_required: Some(reason), ..state.clone() })
        }
        (_, server, Event::Seen(health)) => with_server(seen(server, &health)),
        (_, Server::Stopped(stop), Event::Booted { boot_id }) if !stop.holds_in(boot_id.as_deref()) => {
            with_server(Server::Running)
        }
        (_, _, Event::Booted { .. }) => Ok(state.clone()),
        (_, _, event) => illegal(event),
    }
}

/// What a look at CouchDB says of its process.
fn seen(server: &Server, health: &Health) -> Server {
    match (server, health) {
        // It may be the process that is being ended.
        (Server::Stopping(_) | Server::Restarting { .. }, _) => server.clone(),
        (_, Health::Maintenance(_)) => Server::Maintenance,
        // Somebody else has started it.
        (
            Server::Stopped(_) | Server::Maintenance,
            Health::Healthy | Health::Degraded(_) | Health::NoLogin(_),
        )
        | (Server::Maintenance, Health::Down(_)) => Server::Running,
        (server, _) => server.clone(),
    }
}
