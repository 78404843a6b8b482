//! Whether commands are served, and what is waited for: in words for this machine, and in fewer for others.

use super::Link;
use crate::couch::Health;

/// Whether commands are served, and in words what the agent has and what it waits for.
pub fn condition(health: &Health, link: &Link) -> (bool, String) {
    let broker = match link {
        Link::Absent => "no broker configured (local only)".to_owned(),
        Link::Up { .. } => "serving".to_owned(),
        Link::Blocked { address, reason } => {
            format!("answers wait: the broker takes no messages ({address}: {reason})")
        }
        Link::Down { address: None, .. } => "connecting to the broker".to_owned(),
        Link::Down { address: Some(address), reason } => format!("no broker ({address}: {reason})"),
    };
    let couchdb = match health {
        Health::Healthy => "CouchDB is healthy".to_owned(),
        Health::Unknown => "asking CouchDB".to_owned(),
        Health::Slow(reason)
        | Health::NoLogin(reason)
        | Health::Down(reason)
        | Health::Degraded(reason)
        | Health::Failing(reason) => reason.clone(),
    };
    (is_serving(health, link), format!("{broker}; {couchdb}"))
}

/// The same in words of a fixed set. What brokers and servers say of themselves names hosts, accounts and instances: that is
/// for who is on this machine, and a page of the monitor may be read from elsewhere.
pub fn outline(health: &Health, link: &Link) -> (bool, String) {
    let broker = match link {
        Link::Absent => "no broker configured",
        Link::Up { .. } => "the broker is connected",
        Link::Blocked { .. } => "the broker takes no messages",
        Link::Down { .. } => "the broker is not connected",
    };
    let couchdb = match health {
        Health::Healthy => "CouchDB is healthy",
        Health::Unknown => "CouchDB is being asked",
        Health::Slow(_) => "CouchDB is slow",
        Health::NoLogin(_) => "CouchDB has no login for the agent",
        Health::Down(_) => "CouchDB is down",
        Health::Degraded(_) => "CouchDB can't do all of its work",
        Health::Failing(_) => "CouchDB fails",
    };
    (is_serving(health, link), format!("{broker}; {couchdb}"))
}

fn is_serving(health: &Health, link: &Link) -> bool {
    matches!(link, Link::Up { .. } | Link::Absent) && matches!(health, Health::Healthy | Health::Slow(_))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            Health::Failing(said),
        ];
        for health in &healths {
            for link in [&Link::Absent, &up, &down, &Link::not_tried()] {
                let (serving, words) = outline(health, link);
                assert_eq!(serving, condition(health, link).0);
                assert!(!words.contains("10.0.0.1") && !words.contains("guestagent"), "{words}");
            }
        }
    }
}
