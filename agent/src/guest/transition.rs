//! The guest's state machine. It is pure: the [owner](super::owner) stores and publishes the result.

use trove_couchdb_guest::state::{GuestState, RestartRequired, Server, Stage, Stop};

use crate::couch::Health;

/// An event in the life of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The `prepare` with this request id begins, for the first time or again.
    PrepareBegins {
        /// The request's `_unique_id`.
        id: String,
    },
    /// `prepare` is done.
    PrepareDone,
    /// The `prepare` with this request id failed for good.
    PrepareFailed {
        /// The request's `_unique_id`.
        id: String,
        /// The reason, as the user reads it.
        reason: String,
    },
    /// A `prepare` was refused, or a `rebuild`, without which the guest cannot become a database.
    PrepareRefused {
        /// The request's `_unique_id`.
        id: String,
        /// The reason, as the user reads it.
        reason: String,
    },
    /// The `prepare` that an earlier agent began will not be continued.
    PrepareInterrupted {
        /// The reason.
        reason: String,
    },
    /// The guest was seen healthy after `prepare`, or the time to settle has passed.
    Settled,
    /// An operator wrote this stage into the file.
    WrittenByOperator(Stage),
    /// A deliberate stop of CouchDB begins.
    StopBegins(Stop),
    /// That stop has ended.
    StopEnded(Ended),
    /// A start or a restart of CouchDB begins.
    StartBegins,
    /// That start has ended.
    StartEnded(Ended),
    /// A part of CouchDB's configuration takes effect only after a restart.
    RestartRequired(RestartRequired),
    /// The result of a health check that was sent after the last stop or start ended.
    Observed(Health),
    /// An agent starts.
    AgentStarts {
        /// The current `boot_id` of Linux.
        boot_id: Option<String>,
    },
}

/// The outcome of a stop or start of CouchDB's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It succeeded.
    Done {
        /// Whether the process was replaced or is gone.
        changed: bool,
    },
    /// It was refused. The process is unchanged.
    Refused,
    /// It may have succeeded, in whole or in part.
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
            Self::Observed(_) => "a look at CouchDB",
            Self::AgentStarts { .. } => "the start of an agent",
        }
    }
}

/// The event is impossible in this state. The state does not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the guest is {stage} and CouchDB is {server}, which excludes {event}; try again when that has ended"
)]
pub struct Illegal {
    event: &'static str,
    stage: &'static str,
    server: &'static str,
}

/// The stage as one word, for reports.
pub fn stage_word(stage: &Stage) -> &'static str {
    match stage {
        Stage::New => "new",
        Stage::Building { .. } => "building",
        Stage::Failed { .. } => "failed",
        Stage::Settling => "settling",
        Stage::Ready => "ready",
    }
}

/// The state of CouchDB's process as one word, for reports.
pub fn server_word(server: &Server) -> &'static str {
    match server {
        Server::Running => "running",
        Server::Stopping { .. } => "stopping",
        Server::Stopped(_) => "stopped",
        Server::Restarting { .. } => "restarting",
        Server::Maintenance => "maintenance",
    }
}

/// The state after an event. It is the same state if the event changes nothing.
///
/// # Errors
/// The event is impossible in this state.
pub fn next(state: &GuestState, event: Event) -> Result<GuestState, Illegal> {
    let in_stage = |stage| Ok(GuestState { stage, ..state.clone() });
    let with_server = |server| Ok(GuestState { server, ..state.clone() });
    match (&state.stage, &state.server, event) {
        (Stage::New, _, Event::PrepareBegins { id }) => in_stage(Stage::Building { id }),
        // Keep the first id: a later run uses it to recognise what the first run created.
        (Stage::Building { id } | Stage::Failed { id, .. }, _, Event::PrepareBegins { .. }) => {
            in_stage(Stage::Building { id: id.clone() })
        }
        (Stage::Building { .. }, _, Event::PrepareDone) => in_stage(Stage::Settling),
        // An operator has declared the guest prepared meanwhile.
        (Stage::Settling | Stage::Ready, _, Event::PrepareDone) => Ok(state.clone()),
        (Stage::New, _, Event::PrepareFailed { id, reason } | Event::PrepareRefused { id, reason }) => {
            in_stage(Stage::Failed { id, reason })
        }
        (Stage::Building { id } | Stage::Failed { id, .. }, _, Event::PrepareFailed { reason, .. })
        | (Stage::Building { id }, _, Event::PrepareInterrupted { reason }) => {
            in_stage(Stage::Failed { id: id.clone(), reason })
        }
        // A different `prepare` in progress continues.
        (Stage::Building { id: first }, _, Event::PrepareRefused { id, reason }) if *first == id => {
            in_stage(Stage::Failed { id, reason })
        }
        (Stage::Settling, _, Event::Settled) => in_stage(Stage::Ready),
        // Once `prepare` has begun, the file may be outdated. It then counts only if it says that the guest
        // is prepared.
        (now, _, Event::WrittenByOperator(written)) => {
            let counts = !now.is_prepared() && (*now == Stage::New || written.is_prepared());
            if counts { in_stage(written) } else { Ok(state.clone()) }
        }

        (_, Server::Running | Server::Maintenance | Server::Stopped(_), Event::StopBegins(stop)) => {
            with_server(Server::Stopping { stop, before: state.server.stop().cloned() })
        }
        // Unless the stop was refused, the decision to stop holds. A health check that finds CouchDB running
        // revokes it.
        (_, Server::Stopping { stop, .. }, Event::StopEnded(Ended::Done { .. } | Ended::Unknown)) => {
            with_server(Server::Stopped(stop.clone()))
        }
        (_, Server::Running | Server::Maintenance | Server::Stopped(_), Event::StartBegins) => {
            let (before, ends) = (state.server.stop().cloned(), state.restart_required.clone());
            with_server(Server::Restarting { before, ends })
        }
        (_, Server::Restarting { ends, .. }, Event::StartEnded(Ended::Done { changed })) => {
            // A need that was found while the new process read its configuration may require another restart.
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
        (_, server, Event::Observed(health)) => with_server(observed(server, &health)),
        (_, server, Event::AgentStarts { boot_id }) => {
            let boot_id = boot_id.as_deref();
            let holds = server.stop().filter(|stop| stop.holds_in(boot_id)).cloned();
            let required = state.restart_required.clone().filter(|required| required.holds_in(boot_id));
            let server = holds.map_or(Server::Running, Server::Stopped);
            Ok(GuestState { server, restart_required: required, ..state.clone() })
        }
        // Listed one by one, so that a new event does not compile until it is handled.
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

/// Joins the reasons. Both hold until the restart.
fn both(before: Option<&RestartRequired>, required: RestartRequired) -> RestartRequired {
    let known = before.map(|before| before.reason.as_str()).unwrap_or_default();
    if known.is_empty() || known == required.reason {
        return required;
    }
    RestartRequired { reason: format!("{known}, {}", required.reason), ..required }
}

/// What a health check says about CouchDB's process.
fn observed(server: &Server, health: &Health) -> Server {
    match (server, health) {
        (Server::Stopping { .. } | Server::Restarting { .. }, _) => server.clone(),
        (_, Health::Maintenance(_)) => Server::Maintenance,
        // CouchDB answers, so it was started without the agent.
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
