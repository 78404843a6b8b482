//! Notifies systemd: READY, a STATUS that says what the agent waits for, WATCHDOG, STOPPING.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::{sync::watch, time};
use tracing::debug;

use super::{Link, ProbeResult, condition};
use crate::{guest::Lifecycle, room::RoomReport};

/// READY is sent after this time even if the broker or CouchDB is unreachable. The agent is up and waits for
/// them, and a restart by systemd would not help.
const READY_AT_LATEST: Duration = Duration::from_secs(20);

/// The task that notifies systemd. Without `NOTIFY_SOCKET` it sends nothing.
#[derive(Debug)]
pub struct Notify {
    lifecycle: Lifecycle,
    health: watch::Receiver<ProbeResult>,
    room: watch::Receiver<RoomReport>,
    link: watch::Receiver<Link>,
}

impl Notify {
    /// Reports these: the guest's state, CouchDB's health and free space, and the connection to the broker.
    pub fn new(
        lifecycle: &Lifecycle,
        health: &watch::Receiver<ProbeResult>,
        room: &watch::Receiver<RoomReport>,
        link: &watch::Receiver<Link>,
    ) -> Self {
        let (health, room, link) = (health.clone(), room.clone(), link.clone());
        Self { lifecycle: lifecycle.clone(), health, room, link }
    }

    /// Notifies systemd of every change, forever.
    pub async fn run(mut self) {
        let started = time::Instant::now();
        let mut ready = false;
        let mut shown = String::new();
        // Half of the watchdog's time, as sd_watchdog_enabled(3) advises.
        let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        loop {
            let (serving, status) = condition(
                &self.lifecycle.last_known(),
                &self.health.borrow_and_update().health,
                &self.room.borrow_and_update(),
                &self.link.borrow_and_update(),
            );
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
                () = self.lifecycle.changed() => {}
                Ok(()) = self.health.changed() => {}
                Ok(()) = self.room.changed() => {}
                Ok(()) = self.link.changed() => {}
                else => return,
            }
        }
    }

    /// Notifies systemd that the agent is stopping.
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

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "systemd could not be notified.");
    }
}
