//! What Trove is told of each state.
//!
//! | stage | CouchDB's process | service status |
//! |---|---|---|
//! | new | | nothing: the taskmanager would take a `shutdown` for a failed creation |
//! | building, settling | | `building` |
//! | failed | | `failed to spawn`: the creation ends at once instead of after `usage_timeout` |
//! | ready | stopped on purpose | `shutdown` |
//! | ready | restarting | a heartbeat without a status: what Trove shows stays for the seconds that a restart takes |
//! | ready | maintenance mode | `running`: it is up, and can't do its work |
//! | ready | running, being stopped | by its health: `healthy`; `running` if it can't do all of its work; `shutdown` if it is down; `crashed` |
//!
//! No other status is ever sent. Trove drops all heartbeats after `restart required` until it resets the status itself, 13
//! knows no `restarting`, and `upgrading` can't be sent by its name.

use trove_couchdb_guest::state::{GuestState, Server, Stage};
use trove_couchdb_protocol::trove::ServiceStatus;

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
        Server::Running | Server::Stopping { .. } | Server::Maintenance => {
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

#[cfg(test)]
mod tests {
    use trove_couchdb_guest::state::Stop;

    use super::*;

    #[test]
    fn each_state_has_one_status() {
        use ServiceStatus::{Building, Crashed, FailedToSpawn, Healthy, Running, Shutdown};

        let why = || "why".to_owned();
        let healths = [
            (Health::Unknown, None),
            (Health::Healthy, Some(Healthy)),
            (Health::Slow(why()), Some(Running)),
            (Health::NoLogin(why()), Some(Running)),
            (Health::Degraded(why()), Some(Running)),
            (Health::Maintenance(why()), Some(Running)),
            (Health::Down(why()), Some(Shutdown)),
            (Health::Failing(why()), Some(Crashed)),
        ];
        let stopped = Server::Stopped(Stop { boot_id: None, across_reboots: false });
        for (health, status) in healths {
            let by_health = status.map_or(Heartbeat::Silent, Heartbeat::Status);
            let told = |stage: Stage, settled| heartbeat(&stage.into(), &health, settled);
            assert_eq!(told(Stage::New, true), Heartbeat::Silent);
            let building = Stage::Building { id: "1".to_owned() };
            assert_eq!(told(building, true), Heartbeat::Status(Building));
            let failed = Stage::Failed { id: "1".to_owned(), reason: why() };
            assert_eq!(told(failed, true), Heartbeat::Status(FailedToSpawn));
            assert_eq!(told(Stage::Settling, false), Heartbeat::Status(Building));
            assert_eq!(told(Stage::Settling, true), by_health);
            assert_eq!(told(Stage::Ready, false), by_health);
            assert_eq!(of_server(&Server::Maintenance, &health), by_health);
            assert_eq!(of_server(&stopped, &health), Heartbeat::Status(Shutdown));
            let restarting = Server::Restarting { before: None, ends: None };
            assert_eq!(of_server(&restarting, &health), Heartbeat::Alive);
        }
    }
}
