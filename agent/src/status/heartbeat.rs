//! Reports the service status to `trove-conductor`.
//!
//! Heartbeats start with `prepare`. The agent sends one when the broker becomes reachable, at every change,
//! and at the configured interval with jitter. It keeps none while the broker is unreachable: an old status
//! is worthless, and it sends a fresh one when the broker is back.

use std::{path::PathBuf, time::Duration};

use rand::RngExt;
use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant},
};
use tracing::{debug, info, warn};
use trove_couchdb_config::{HeartbeatSettings, Settings};
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};

use super::{Link, ProbeResult, policy::StatusPolicy, sent::Sent};
use crate::{
    couch::Health,
    guest::{GuestState, Lifecycle, service_status},
    system,
};

/// The heartbeat's task.
#[derive(Debug)]
pub struct Heartbeat {
    /// The heartbeat's settings.
    pub terms: HeartbeatTerms,
    /// The guest's state.
    pub lifecycle: Lifecycle,
    /// Every change of that state, from [`Lifecycle::load`].
    pub states: mpsc::UnboundedReceiver<GuestState>,
    /// CouchDB's health.
    pub health: watch::Receiver<ProbeResult>,
    /// The connection to the broker.
    pub link: watch::Receiver<Link>,
    /// The queue to the transport.
    pub outbox: mpsc::Sender<ConductorCast>,
}

/// The heartbeat's settings.
#[derive(Debug)]
pub struct HeartbeatTerms {
    /// The interval, and whether to assume that the guest is prepared.
    settings: HeartbeatSettings,
    /// How long to wait for a healthy CouchDB after `prepare`: the retry timeout of `prepare`.
    settling: Duration,
    /// Where the last `sent` is stored.
    state_dir: PathBuf,
}

impl From<&Settings> for HeartbeatTerms {
    fn from(settings: &Settings) -> Self {
        Self {
            settings: settings.heartbeat.clone(),
            settling: settings.rpc.prepare_retry_timeout,
            state_dir: settings.guest.state_dir.clone(),
        }
    }
}

impl Heartbeat {
    /// Sends heartbeats until the transport is gone.
    pub async fn run(mut self) {
        let state_dir = self.terms.state_dir.clone();
        let Ok(mut sent) =
            system::blocking(move || Sent::load(&state_dir, std::time::SystemTime::now())).await
        else {
            return;
        };
        let mut policy = StatusPolicy::new(self.terms.settings.assume_prepared, self.terms.settling);
        if let Ok(state) = self.states.try_recv() {
            policy.hear(state, Instant::now().into());
        }
        let mut told = None;
        let mut was_up = false;
        loop {
            let up = self.link.borrow_and_update().is_up();
            if up && !was_up {
                policy.is_heard_again(Instant::now().into());
            }
            was_up = up;
            let health = self.current_health();
            let now = Instant::now().into();
            let status = match policy.heartbeat(&health, now) {
                service_status::Heartbeat::Silent => None,
                service_status::Heartbeat::Alive => Some(None),
                service_status::Heartbeat::Status(status) => Some(Some(self.in_known_words(status))),
            };
            if let Some(status) = status.filter(|_| up) {
                if let Some(status) = status.filter(|_| told != status) {
                    info!(status = status.as_str(), "Telling the conductor.");
                }
                told = status.or(told);
                sent = match self.beat(sent, status).await {
                    Some(sent) => sent,
                    None => return,
                };
                if policy.has_settled(&health, now) {
                    self.lifecycle.settle().await;
                }
            }
            let interval = jittered(self.terms.settings.interval, self.terms.settings.jitter);
            let heard = tokio::select! {
                biased;
                // First, and one at a time: each state is reported, however short it was.
                state = self.states.recv() => state.map(|state| policy.hear(state, Instant::now().into())),
                changed = self.health.changed() => changed.ok(),
                changed = self.link.changed() => changed.ok(),
                () = time::sleep(interval) => Some(()),
            };
            if heard.is_none() {
                return;
            }
        }
    }

    /// CouchDB's health; unknown if CouchDB's process was stopped or replaced since the check.
    fn current_health(&mut self) -> Health {
        let ProbeResult { health, asked_at } = self.health.borrow_and_update().clone();
        let is_current = self.lifecycle.process_since().is_none_or(|since| asked_at >= since);
        if is_current { health } else { Health::Unknown }
    }

    /// Trove 12 drops a heartbeat with a status that it does not know. Trove 13 treats `running` like
    /// `healthy`.
    fn in_known_words(&self, status: ServiceStatus) -> ServiceStatus {
        match status {
            ServiceStatus::Healthy if self.lifecycle.has_old_control_plane() => ServiceStatus::Running,
            other => other,
        }
    }

    async fn beat(&self, mut sent: Sent, status: Option<ServiceStatus>) -> Option<Sent> {
        let next = system::blocking(move || {
            let (value, stored) = sent.next(std::time::SystemTime::now());
            (sent, value, stored)
        });
        let (sent, value, stored) = next.await.ok()?;
        if let Err(error) = stored {
            warn!(%error, "The time of the heartbeat can't be kept in the state directory.");
        }
        let cast = ConductorCast::Heartbeat { sent: value, status };
        match self.outbox.try_send(cast) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => debug!("The broker is slow; a heartbeat is left out."),
            Err(mpsc::error::TrySendError::Closed(_)) => return None,
        }
        Some(sent)
    }
}

/// Spreads the heartbeats of guests that were started together.
fn jittered(interval: Duration, jitter: f64) -> Duration {
    let jitter = jitter.clamp(0.0, 0.9);
    if jitter == 0.0 {
        return interval;
    }
    interval.mul_f64(rand::rng().random_range(1.0 - jitter..=1.0 + jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_fraction() {
        let interval = Duration::from_secs(30);
        assert_eq!(jittered(interval, 0.0), interval);
        for _ in 0..100 {
            let wait = jittered(interval, 0.1);
            assert!(wait >= Duration::from_secs(27) && wait <= Duration::from_secs(33));
        }
    }
}
