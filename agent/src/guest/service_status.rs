//! The service status that Trove gets in each state.
//!
//! | stage | CouchDB's process | service status |
//! |---|---|---|
//! | new | | none: the taskmanager takes a `shutdown` for a failed creation |
//! | building, settling | | `building` |
//! | failed | | `failed to spawn`: the creation fails at once instead of after `usage_timeout` |
//! | ready | stopped on purpose | `shutdown` |
//! | ready | restarting | a heartbeat without a status: Trove keeps the last one during the restart |
//! | ready | maintenance mode | `running`: CouchDB is up, but cannot do its work |
//! | ready | running, being stopped | `healthy`, `running` (works in part), `shutdown` (down) or `crashed` |
//!
//! No other status is ever sent. After `restart required` Trove drops all heartbeats until it resets the
//! status itself. Trove 13 does not know `restarting`. `upgrading` cannot be sent by its name.

use trove_couchdb_guest::state::{GuestState, Server, Stage};
use trove_couchdb_protocol::trove::ServiceStatus;

use crate::couch::Health;

/// A heartbeat, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// No heartbeat.
    Silent,
    /// A heartbeat without a status: Trove keeps the last one.
    Alive,
    /// A heartbeat with this status.
    Status(ServiceStatus),
}

/// The heartbeat for a guest. A settling guest counts as ready if `settled`.
pub fn heartbeat(state: &GuestState, health: &Health, settled: bool) -> Heartbeat {
    match state.stage {
        Stage::New => Heartbeat::Silent,
        Stage::Building { .. } => Heartbeat::Status(ServiceStatus::Building),
        Stage::Failed { .. } => Heartbeat::Status(ServiceStatus::FailedToSpawn),
        Stage::Settling if !settled => Heartbeat::Status(ServiceStatus::Building),
        Stage::Settling | Stage::Ready => of_server(&state.server, health),
    }
}

/// The heartbeat for a guest that counts as ready whatever its stage.
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
        // Trove refuses every command on a guest that is neither running nor healthy, even those that free
        // space.
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
    use crate::couch::{Degraded, Impairment};

    #[test]
    fn each_state_has_one_status() {
        use ServiceStatus::{Building, Crashed, FailedToSpawn, Healthy, Running, Shutdown};

        let why = || "why".to_owned();
        let healths = [
            (Health::Unknown, None),
            (Health::Healthy, Some(Healthy)),
            (Health::Slow(why()), Some(Running)),
            (Health::NoLogin(why()), Some(Running)),
            (Health::Degraded(Degraded { by: Impairment::DiskFull, reason: why() }), Some(Running)),
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
