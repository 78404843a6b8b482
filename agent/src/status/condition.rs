//! Whether commands are served, and what the agent waits for: in detail for this machine, in outline for
//! others.

use super::Link;
use crate::{
    couch::{Degraded, Health, Impairment},
    guest::{GuestState, Server},
    room::RoomReport,
};

/// Whether commands are served, and a text that says what the agent has and waits for.
pub fn condition(state: &GuestState, health: &Health, room: &RoomReport, link: &Link) -> (bool, String) {
    let broker = match link {
        Link::Absent => "no broker configured (local only)".to_owned(),
        Link::Up { .. } => "serving".to_owned(),
        Link::Blocked { address, reason } => {
            format!("answers wait: the broker takes no messages ({address}: {reason})")
        }
        Link::Down { address: None, .. } => "connecting to the broker".to_owned(),
        Link::Down { address: Some(address), reason } => format!("no broker ({address}: {reason})"),
    };
    let couchdb = match (&state.server, health) {
        (Server::Stopped(_), _) => {
            "CouchDB was stopped on purpose; `trove-couchdb service-start` starts it".to_owned()
        }
        (Server::Stopping { .. }, _) => "CouchDB is being stopped".to_owned(),
        (Server::Restarting { .. }, _) => "CouchDB is being started".to_owned(),
        (_, Health::Healthy) => "CouchDB is healthy".to_owned(),
        (_, Health::Unknown) => "asking CouchDB".to_owned(),
        (
            _,
            Health::Slow(reason)
            | Health::NoLogin(reason)
            | Health::Down(reason)
            | Health::Degraded(Degraded { reason, .. })
            | Health::Maintenance(reason)
            | Health::Failing(reason),
        ) => reason.clone(),
    };
    let room = room.note().map_or_else(String::new, |note| format!("; {note}"));
    let restart = state.restart_required.as_ref();
    let restart =
        restart.map_or_else(String::new, |required| format!("; it must be restarted ({})", required.reason));
    (is_serving(&state.server, health, link), format!("{broker}; {couchdb}{room}{restart}"))
}

/// The same in fixed phrases. The messages of brokers and servers contain hosts, accounts and instances. They
/// must not leave this machine, but the monitor's pages may be read from elsewhere.
pub fn outline(server: &Server, health: &Health, room: &RoomReport, link: &Link) -> (bool, String) {
    let broker = match link {
        Link::Absent => "no broker configured",
        Link::Up { .. } => "the broker is connected",
        Link::Blocked { .. } => "the broker takes no messages",
        Link::Down { .. } => "the broker is not connected",
    };
    let couchdb = match (server, health) {
        (Server::Stopped(_), _) => "CouchDB was stopped on purpose",
        (Server::Stopping { .. }, _) => "CouchDB is being stopped",
        (Server::Restarting { .. }, _) => "CouchDB is being started",
        (_, Health::Healthy) => "CouchDB is healthy",
        (_, Health::Unknown) => "CouchDB is being asked",
        (_, Health::Slow(_)) => "CouchDB is slow",
        (_, Health::NoLogin(_)) => "CouchDB has no login for the agent",
        (_, Health::Down(_)) => "CouchDB is down",
        (_, Health::Degraded(Degraded { by, .. })) => match by {
            Impairment::DiskFull => "CouchDB's disk is full",
            Impairment::NodeRenamed => "CouchDB's node name has changed",
            Impairment::NoFiles => "CouchDB has no file descriptor left",
            Impairment::NoWrites => "CouchDB can't write",
        },
        (_, Health::Maintenance(_)) => "CouchDB is in maintenance mode",
        (_, Health::Failing(_)) => "CouchDB fails",
    };
    // A full disk is filling up, too.
    let is_full = matches!(health, Health::Degraded(Degraded { by: Impairment::DiskFull, .. }));
    let room = if room.is_low && !is_full { "; its disk is filling up" } else { "" };
    (is_serving(server, health, link), format!("{broker}; {couchdb}{room}"))
}

/// The words for CouchDB's state in metrics.
pub const HEALTH_WORDS: [&str; 11] = [
    "unknown",
    "healthy",
    "slow",
    "no_login",
    "down",
    "disk_full",
    "node_renamed",
    "no_files",
    "no_writes",
    "maintenance",
    "failing",
];

/// One of [`HEALTH_WORDS`].
pub fn health_word(health: &Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Healthy => "healthy",
        Health::Slow(_) => "slow",
        Health::NoLogin(_) => "no_login",
        Health::Down(_) => "down",
        Health::Degraded(Degraded { by, .. }) => match by {
            Impairment::DiskFull => "disk_full",
            Impairment::NodeRenamed => "node_renamed",
            Impairment::NoFiles => "no_files",
            Impairment::NoWrites => "no_writes",
        },
        Health::Maintenance(_) => "maintenance",
        Health::Failing(_) => "failing",
    }
}

fn is_serving(server: &Server, health: &Health, link: &Link) -> bool {
    matches!(server, Server::Running | Server::Maintenance)
        && matches!(link, Link::Up { .. } | Link::Absent)
        && matches!(health, Health::Healthy | Health::Slow(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        couch::DiskUse,
        guest::{RestartRequired, Stage, Stop},
    };

    fn condition(health: &Health, link: &Link) -> (bool, String) {
        super::condition(&Stage::Ready.into(), health, &RoomReport::default(), link)
    }

    fn low() -> RoomReport {
        let disk = DiskUse { path: "/guestagent".into(), free: 5, size: 100 };
        RoomReport { disk: Some(disk), is_low: true, ..RoomReport::default() }
    }

    #[test]
    fn a_disk_that_fills_up_is_said_and_commands_are_served() {
        let up = Link::Up { address: "10.0.0.1:5672".into() };
        let said = outline(&Server::Running, &Health::Healthy, &low(), &up);
        let words = "the broker is connected; CouchDB is healthy; its disk is filling up";
        assert_eq!(said, (true, words.to_owned()));
        let full = Health::Degraded(Degraded { by: Impairment::DiskFull, reason: "0 MiB".to_owned() });
        let (serving, words) = outline(&Server::Running, &full, &low(), &up);
        assert!(!serving && words.ends_with("; CouchDB's disk is full"), "{words}");
    }

    fn required(reason: &str) -> RestartRequired {
        RestartRequired { reason: reason.to_owned(), boot_id: None }
    }

    fn stopped() -> Server {
        Server::Stopped(Stop { boot_id: None, across_reboots: false })
    }

    #[test]
    fn serving_needs_both_sides() {
        let up = Link::Up { address: "10.0.0.1:5672".into() };
        assert!(condition(&Health::Healthy, &up).0);
        let down = Link::Down { address: Some("10.0.0.1:5672".into()), reason: "refused".into() };
        let (serving, status) = condition(&Health::Healthy, &down);
        assert!(!serving);
        assert_eq!(status, "no broker (10.0.0.1:5672: refused); CouchDB is healthy");
        assert!(!condition(&Health::NoLogin("no file".into()), &up).0);
        let blocked = Link::Blocked { address: "10.0.0.1:5672".into(), reason: "low on memory".into() };
        let (serving, status) = condition(&Health::Healthy, &blocked);
        assert!(!serving && blocked.is_up(), "commands arrive, and answers wait");
        let words =
            "answers wait: the broker takes no messages (10.0.0.1:5672: low on memory); CouchDB is healthy";
        assert_eq!(status, words);
    }

    #[test]
    fn without_a_broker_there_is_nothing_to_wait_for() {
        let expected = (true, "no broker configured (local only); CouchDB is healthy".to_owned());
        assert_eq!(condition(&Health::Healthy, &Link::Absent), expected);
        assert!(!condition(&Health::Unknown, &Link::Absent).0);
        let first = condition(&Health::Unknown, &Link::not_tried());
        assert_eq!(first, (false, "connecting to the broker; asking CouchDB".to_owned()));
    }

    #[test]
    fn an_outline_says_the_same_without_what_others_said() {
        let said = "ACCESS_REFUSED for user 'guestagent-6ee49ee8'".to_owned();
        let down = Link::Down { address: Some("10.0.0.1:5672".into()), reason: said.clone() };
        let up = Link::Up { address: "10.0.0.1:5672".into() };
        let healths = [
            Health::Healthy,
            Health::Unknown,
            Health::Slow(said.clone()),
            Health::NoLogin(said.clone()),
            Health::Down(said.clone()),
            Health::Degraded(Degraded { by: Impairment::DiskFull, reason: said.clone() }),
            Health::Degraded(Degraded { by: Impairment::NodeRenamed, reason: said.clone() }),
            Health::Maintenance(said.clone()),
            Health::Failing(said.clone()),
        ];
        for health in &healths {
            for link in [&Link::Absent, &up, &down, &Link::not_tried()] {
                for server in [
                    Server::Running,
                    Server::Maintenance,
                    stopped(),
                    Server::Restarting { before: None, ends: None },
                ] {
                    let state =
                        GuestState { server, restart_required: Some(required(&said)), ..Stage::Ready.into() };
                    let room = low();
                    let (serving, words) = outline(&state.server, health, &room, link);
                    assert_eq!(serving, super::condition(&state, health, &room, link).0);
                    assert!(HEALTH_WORDS.contains(&health_word(health)));
                    assert!(!words.contains("10.0.0.1") && !words.contains("guestagent"), "{words}");
                }
            }
        }
    }

    #[test]
    fn a_stop_on_purpose_is_said_whatever_a_probe_finds() {
        let state = GuestState { server: stopped(), ..GuestState::default() };
        for health in [Health::Healthy, Health::Down("refused".into()), Health::Failing("500".into())] {
            let (serving, words) = super::condition(&state, &health, &RoomReport::default(), &Link::Absent);
            assert!(!serving && words.contains("stopped on purpose"), "{words}");
        }
        let state = GuestState { restart_required: Some(required("bind_address")), ..GuestState::default() };
        let (serving, words) = super::condition(&state, &Health::Healthy, &low(), &Link::Absent);
        assert!(serving, "it goes on with the old configuration");
        let expected = "CouchDB is healthy; 5 % of its disk is free; it must be restarted (bind_address)";
        assert!(words.ends_with(expected), "{words}");
    }
}
