//! What may happen to a guest, and what it is then. Pure: the [owner](super::owner) writes it down and tells it.

use trove_couchdb_guest::state::{GuestState, RestartRequired, Server, Stage, Stop};

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
    /// That stop has ended.
    StopEnded(Ended),
    /// CouchDB is about to be started, or restarted.
    StartBegins,
    /// That start has ended.
    StartEnded(Ended),
    /// A part of CouchDB's configuration is only in force after a restart.
    RestartRequired(RestartRequired),
    /// CouchDB was asked how it is, after the last stop or start had ended.
    Seen(Health),
    /// An agent starts.
    AgentStarts {
        /// Linux's `boot_id` now.
        boot_id: Option<String>,
    },
}

/// How a stop or start of CouchDB's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is done. `changed` says whether the process is another one now, or gone.
    Done {
        /// See above.
        changed: bool,
    },
    /// It was refused: the process is as before.
    Refused,
    /// It may be done, or half done.
    Unknown,
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::PrepareBegins { .. } => "prepare",
            Self::PrepareDone => "the end of prepare",
            Self::PrepareFailed { .. } => "the failure of prepare",
            Self::PrepareRefused { .. } => "the refusal of prepare",
            Self::PrepareInterrupted { .. } => "the interruption of prepare",
            Self::Settled => "the end of settling",
            Self::WrittenByOperator(_) => "a stage written by an operator",
            Self::StopBegins(_) => "a stop of CouchDB",
            Self::StopEnded(_) => "the end of a stop",
            Self::StartBegins => "a start of CouchDB",
            Self::StartEnded(_) => "the end of a start",
            Self::RestartRequired(_) => "a restart being required",
            Self::Seen(_) => "a look at CouchDB",
            Self::AgentStarts { .. } => "the start of an agent",
        }
    }
}

/// What can't happen in this state. The state stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the guest is {stage} and CouchDB is {server}, which excludes {event}; try again when that has ended"
)]
pub struct Illegal {
    event: &'static str,
    stage: &'static str,
    server: &'static str,
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
        Server::Stopping { .. } => "stopping",
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
    let in_stage = |stage| Ok(GuestState { stage, ..state.clone() });
    let with_server = |server| Ok(GuestState { server, ..state.clone() });
    match (&state.stage, &state.server, event) {
        (Stage::New, _, Event::PrepareBegins { id }) => in_stage(Stage::Building { id }),
        // The first one stays: a later run finds by its id what it made.
        (Stage::Building { id } | Stage::Failed { id, .. }, _, Event::PrepareBegins { .. }) => {
            in_stage(Stage::Building { id: id.clone() })
        }
        (Stage::Building { .. }, _, Event::PrepareDone) => in_stage(Stage::Settling),
        // An operator has written meanwhile that nothing more is to be done.
        (Stage::Settling | Stage::Ready, _, Event::PrepareDone) => Ok(state.clone()),
        (Stage::New, _, Event::PrepareFailed { id, reason } | Event::PrepareRefused { id, reason }) => {
            in_stage(Stage::Failed { id, reason })
        }
        (Stage::Building { id } | Stage::Failed { id, .. }, _, Event::PrepareFailed { reason, .. })
        | (Stage::Building { id }, _, Event::PrepareInterrupted { reason }) => {
            in_stage(Stage::Failed { id: id.clone(), reason })
        }
        // Another `prepare` that is under way goes on.
        (Stage::Building { id: first }, _, Event::PrepareRefused { id, reason }) if *first == id => {
            in_stage(Stage::Failed { id, reason })
        }
        (Stage::Settling, _, Event::Settled) => in_stage(Stage::Ready),
        // What the disk did not take is known better here, unless the operator says that nothing more is to be done.
        (now, _, Event::WrittenByOperator(written)) => {
            let counts = !now.is_prepared() && (*now == Stage::New || written.is_prepared());
            if counts { in_stage(written) } else { Ok(state.clone()) }
        }

        (_, Server::Running | Server::Maintenance | Server::Stopped(_), Event::StopBegins(stop)) => {
            with_server(Server::Stopping { stop, before: state.server.stop().cloned() })
        }
        // If it is not known whether CouchDB is down, the decision holds: a look that finds it running ends it.
        (_, Server::Stopping { stop, .. }, Event::StopEnded(Ended::Done { .. } | Ended::Unknown)) => {
            with_server(Server::Stopped(stop.clone()))
        }
        (_, Server::Running | Server::Maintenance | Server::Stopped(_), Event::StartBegins) => {
            let (before, ends) = (state.server.stop().cloned(), state.restart_required.clone());
            with_server(Server::Restarting { before, ends })
        }
        (_, Server::Restarting { ends, .. }, Event::StartEnded(Ended::Done { changed })) => {
            // What was found while the new process read its configuration may need another restart.
            let is_over = changed && *ends == state.restart_required;
            let restart_required = state.restart_required.clone().filter(|_| !is_over);
            Ok(GuestState { server: Server::Running, restart_required, ..state.clone() })
        }
        (_, Server::Stopping { before, .. }, Event::StopEnded(Ended::Refused))
        | (_, Server::Restarting { before, .. }, Event::StartEnded(Ended::Refused | Ended::Unknown)) => {
            with_server(before.clone().map_or(Server::Running, Server::Stopped))
        }
        (_, _, Event::RestartRequired(required)) => Ok(GuestState {
            restart_required: Some(both(state.restart_required.as_ref(), required)),
            ..state.clone()
        }),
        (_, server, Event::Seen(health)) => with_server(seen(server, &health)),
        (_, server, Event::AgentStarts { boot_id }) => {
            let boot_id = boot_id.as_deref();
            let holds = server.stop().filter(|stop| stop.holds_in(boot_id)).cloned();
            let required = state.restart_required.clone().filter(|required| required.holds_in(boot_id));
            let server = holds.map_or(Server::Running, Server::Stopped);
            Ok(GuestState { server, restart_required: required, ..state.clone() })
        }
        // Named one by one, so that a new event has to be thought of here.
        (
            _,
            _,
            event @ (Event::PrepareBegins { .. }
            | Event::PrepareDone
            | Event::PrepareFailed { .. }
            | Event::PrepareRefused { .. }
            | Event::PrepareInterrupted { .. }
            | Event::Settled
            | Event::StopBegins(_)
            | Event::StopEnded(_)
            | Event::StartBegins
            | Event::StartEnded(_)),
        ) => Err(Illegal {
            event: event.name(),
            stage: stage_word(&state.stage),
            server: server_word(&state.server),
        }),
    }
}

/// Both reasons count until the restart.
fn both(before: Option<&RestartRequired>, required: RestartRequired) -> RestartRequired {
    let known = before.map(|before| before.reason.as_str()).unwrap_or_default();
    if known.is_empty() || known == required.reason {
        return required;
    }
    RestartRequired { reason: format!("{known}, {}", required.reason), ..required }
}

/// What a look at CouchDB says of its process.
fn seen(server: &Server, health: &Health) -> Server {
    match (server, health) {
        (Server::Stopping { .. } | Server::Restarting { .. }, _) => server.clone(),
        (_, Health::Maintenance(_)) => Server::Maintenance,
        // It answers: it was started without the agent.
        (
            Server::Stopped(_) | Server::Maintenance,
            Health::Healthy | Health::Degraded(_) | Health::NoLogin(_),
        )
        | (Server::Maintenance, Health::Down(_)) => Server::Running,
        (server, _) => server.clone(),
    }
}

#[cfg(test)]
mod tests;
