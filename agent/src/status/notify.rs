//! What systemd is told: READY, a STATUS that says what the agent waits for, WATCHDOG, STOPPING.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::{sync::watch, time};
use tracing::debug;

use super::Link;
use crate::couch::Health;

/// READY is not held back longer than this by a broker or a CouchDB that is away: the agent is up and waits for
/// them, and systemd starting it anew would not help.
const READY_AT_LATEST: Duration = Duration::from_secs(20);

/// The task that talks to systemd. Without `NOTIFY_SOCKET` it says nothing.
#[derive(Debug)]
pub struct Notify {
    /// CouchDB.
    pub health: watch::Receiver<Health>,
    /// The broker.
    pub link: watch::Receiver<Link>,
}

impl Notify {
    /// Tells systemd of every change, for ever.
    pub async fn run(mut self) {
        let started = time::Instant::now();
        let mut ready = false;
        let mut shown = String::new();
        // Half of the watchdog's time, as sd_watchdog_enabled(3) advises.
        let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        loop {
            let (serving, status) =
                condition(&self.health.borrow_and_update(), &self.link.borrow_and_update());
            if !ready && (serving || started.elapsed() >= READY_AT_LATEST) {
                ready = true;
                tell(&[NotifyState::Ready]);
            }
            if status != shown {
                tell(&[NotifyState::Status(&status)]);
                shown = status;
            }
            if watchdog.is_some() {
                tell(&[NotifyState::Watchdog]);
            }
            let until_ready = (!ready).then(|| READY_AT_LATEST.saturating_sub(started.elapsed()));
            let wait = until_ready.into_iter().chain(watchdog).min();
            tokio::select! {
                () = sleep_if(wait) => {}
                Ok(()) = self.health.changed() => {}
                Ok(()) = self.link.changed() => {}
                else => return,
            }
        }
    }

    /// The agent is on its way out.
    pub fn stopping() {
        tell(&[NotifyState::Stopping, NotifyState::Status("Finishing what is under way.")]);
    }
}

async fn sleep_if(wait: Option<Duration>) {
    match wait {
        Some(wait) => time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// Whether commands are served, and in words what the agent has and what it waits for.
pub fn condition(health: &Health, link: &Link) -> (bool, String) {
    let broker = match link {
        Link::Absent => "no broker configured (local only)".to_owned(),
        Link::Up { .. } => "serving".to_owned(),
        Link::Down { address: None, .. } => "connecting to the broker".to_owned(),
        Link::Down { address: Some(address), reason } => format!("no broker ({address}: {reason})"),
    };
    let couchdb = match health {
        Health::Healthy => "CouchDB is healthy".to_owned(),
        Health::Unknown => "asking CouchDB".to_owned(),
        Health::NoLogin(reason) | Health::Down(reason) | Health::Failing(reason) => reason.clone(),
    };
    let serving = (link.is_up() || *link == Link::Absent) && *health == Health::Healthy;
    (serving, format!("{broker}; {couchdb}"))
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "systemd could not be told.");
    }
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
    }

    #[test]
    fn without_a_broker_there_is_nothing_to_wait_for() {
        let expected = (true, "no broker configured (local only); CouchDB is healthy".to_owned());
        assert_eq!(condition(&Health::Healthy, &Link::Absent), expected);
        assert!(!condition(&Health::Unknown, &Link::Absent).0);
        let first = condition(&Health::Unknown, &Link::not_tried());
        assert_eq!(first, (false, "connecting to the broker; asking CouchDB".to_owned()));
    }
}
