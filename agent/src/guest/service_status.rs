//! What Trove is told of each state.
//!
//! | stage | CouchDB's process | service status |
//! |---|---|---|
//! | new | | nothing: the taskmanager would take a `shutdown` for a failed creation |
//! | building, settling | | `building` |
//! | failed | | `failed to spawn`: the creation ends at once instead of after `usage_timeout` |
//! | ready | stopped on purpose | `shutdown` |
//! | ready | restarting | a heartbeat without a status: what Trove wrote when it asked for the restart stays |
//! | ready | maintenance mode | `running`: it is up, and can't do its work |
//! | ready | running, being stopped | by its health: `healthy`; `running` if it can't do all of its work; `shutdown` if it is down; `crashed` |
//!
//! No other status is ever sent. Trove drops all heartbeats after `restart required` until it resets the status itself, 13
//! knows no `restarting`, and `upgrading` can't be sent by its name.

use trove_couchdb_protocol::trove::ServiceStatus;

use super::{GuestState, Server, Stage};
use crate::couch::Health;

/// What a heartbeat says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// There is none.
    Silent,
    /// The agent lives; what Trove knows of the service stays.
    Alive,
    /// This is how the service is.
    Status(ServiceStatus),
}

/// What Trove is told of a guest. A settling guest that is `settled` counts as ready.
pub fn heartbeat(state: &GuestState, health: &Health, settled: bool) -> Heartbeat {
    match state.stage {
        Stage::New => Heartbeat::Silent,
        Stage::Building { .. } => Heartbeat::Status(ServiceStatus::Building),
        Stage::Failed { .. } => Heartbeat::Status(ServiceStatus::FailedToSpawn),
        Stage::Settling if !settled => Heartbeat::Status(ServiceStatus::Building),
        Stage::Settling | Stage::Ready => of_server(&state.server, health),
    }
}

/// The same of a guest that counts as ready whatever Trove did.
pub fn of_server(server: &Server, health: &Health) -> Heartbeat {
    match server {
        Server::Stopped(_) => Heartbeat::Status(ServiceStatus::Shutdown),
        Server::Restarting { .. } => Heartbeat::Alive,
        Server::Running | Server::Stopping(_) | Server::Maintenance => {
            of_health(health).map_or(Heartbeat::Silent, Heartbeat::Status)
        }
    }
}

fn of_health(health: &Health) -> Option<ServiceStatus> {
    match health {
        Health::Unknown => None,
        Health::Healthy => Some(ServiceStatus::Healthy),
        // Trove refuses every command on a guest that is neither running nor healthy, also those that make room.
        Health::Slow(_) | Health::NoLogin(_) | Health::Degraded(_) | Health::Maintenance(_) => {
            Some(ServiceStatus::Running)
        }
        Health::Down(_) => Some(ServiceStatus::Shutdown),
        Health::Failing(_) => Some(ServiceStatus::Crashed),
    }
}
