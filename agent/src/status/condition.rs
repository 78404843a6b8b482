//! Whether commands are served, and what the agent waits for: in detail for this machine, in outline for
//! others.

use super::Link;
use crate::{
    couch::Health,
    guest::{GuestState, Server},
};

/// Whether commands are served, and a text that says what the agent has and waits for.
pub fn condition(state: &GuestState, health: &Health, link: &Link) -> (bool, String) {
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
            | Health::Degraded(reason)
            | Health::Maintenance(reason)
            | Health::Failing(reason),
        ) => reason.clone(),
    };
    let restart = state.restart_required.as_ref();
    let restart =
        restart.map_or_else(String::new, |required| format!("; it must be restarted ({})", required.reason));
    (is_serving(&state.server, health, link), format!("{broker}; {couchdb}{restart}"))
}

/// The same in fixed phrases. The messages of brokers and servers contain hosts, accounts and instances. They
/// must not leave this machine, but the monitor's pages may be read from elsewhere.
pub fn outline(server: &Server, health: &Health, link: &Link) -> (bool, String) {
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
        (_, Health::Degraded(_)) => "CouchDB can't do all of its work",
        (_, Health::Maintenance(_)) => "CouchDB is in maintenance mode",
        (_, Health::Failing(_)) => "CouchDB fails",
    };
    (is_serving(server, health, link), format!("{broker}; {couchdb}"))
}

fn is_serving(server: &Server, health: &Health, link: &Link) -> bool {
    matches!(server, Server::Running | Server::Maintenance)
        && matches!(link, Link::Up { .. } | Link::Absent)
        && matches!(health, Health::Healthy | Health::Slow(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::{RestartRequired, Stage, Stop};

    fn condition(health: &Health, link: &Link) -> (bool, String) {
        super::condition(&Stage::Ready.into(), health, link)
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
            Health::Degraded(said.clone()),
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
                    let (serving, words) = outline(&state.server, health, link);
                    assert_eq!(serving, super::condition(&state, health, link).0);
                    assert!(!words.contains("10.0.0.1") && !words.contains("guestagent"), "{words}");
                }
            }
        }
    }

    #[test]
    fn a_stop_on_purpose_is_said_whatever_a_probe_finds() {
        let state = GuestState { server: stopped(), ..GuestState::default() };
        for health in [Health::Healthy, Health::Down("refused".into()), Health::Failing("500".into())] {
            let (serving, words) = super::condition(&state, &health, &Link::Absent);
            assert!(!serving && words.contains("stopped on purpose"), "{words}");
        }
        let state = GuestState { restart_required: Some(required("bind_address")), ..GuestState::default() };
        let (serving, words) = super::condition(&state, &Health::Healthy, &Link::Absent);
        assert!(serving, "it goes on with the old configuration");
        assert!(words.ends_with("CouchDB is healthy; it must be restarted (bind_address)"), "{words}");
    }
}
