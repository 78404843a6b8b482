//! The service status, told to `trove-conductor`.
//!
//! Once the guest is prepared: when the broker is reached, at every change, and at the configured interval with
//! jitter. Without a broker nothing is kept: an old status is worth nothing, and a fresh one goes out when the
//! broker is back.

use std::{path::PathBuf, time::Duration};

use rand::RngExt;
use tokio::{
    sync::{mpsc, watch},
    task, time,
};
use tracing::{debug, info, warn};
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};

use super::{Link, Told, prepared::is_prepared, sent::Sent};
use crate::{config::HeartbeatSettings, couch::Health};

/// The heartbeat's task.
#[derive(Debug)]
pub struct Heartbeat {
    /// How often, and whether to take the guest for prepared.
    pub settings: HeartbeatSettings,
    /// Where `prepared.json` and the last `sent` are.
    pub state_dir: PathBuf,
    /// What to tell.
    pub health: watch::Receiver<Health>,
    /// Whether it can be told.
    pub link: watch::Receiver<Link>,
    /// To the transport.
    pub outbox: mpsc::Sender<ConductorCast>,
    /// The last one that was sent, for whoever asks.
    pub told: watch::Sender<Option<Told>>,
}

impl Heartbeat {
    /// Beats until the transport is gone.
    pub async fn run(mut self) {
        let state_dir = self.state_dir.clone();
        let Ok(mut sent) = task::spawn_blocking(move || Sent::load(&state_dir)).await else {
            return;
        };
        let mut told = None;
        loop {
            let status = status_of(&self.health.borrow_and_update());
            let up = self.link.borrow_and_update().is_up();
            if let Some(status) = status.filter(|_| up)
                && self.may_speak().await
            {
                if told != Some(status) {
                    info!(status = status.as_str(), "Telling the conductor.");
                }
                told = Some(status);
                sent = match self.beat(sent, status).await {
                    Some(sent) => sent,
                    None => return,
                };
            }
            let interval = jittered(self.settings.interval, self.settings.jitter);
            let changed = tokio::select! {
                () = time::sleep(interval) => Ok(()),
                changed = self.health.changed() => changed,
                changed = self.link.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    async fn may_speak(&self) -> bool {
        if self.settings.assume_prepared {
            return true;
        }
        let state_dir = self.state_dir.clone();
        match task::spawn_blocking(move || is_prepared(&state_dir)).await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(error)) => {
                warn!(%error, "The file prepared.json can't be read; no heartbeat is sent.");
                false
            }
            Err(_) => false,
        }
    }

    async fn beat(&self, mut sent: Sent, status: ServiceStatus) -> Option<Sent> {
        let next = task::spawn_blocking(move || {
            let (value, stored) = sent.next(std::time::SystemTime::now());
            (sent, value, stored)
        });
        let (sent, value, stored) = next.await.ok()?;
        if let Err(error) = stored {
            warn!(%error, "The time of the heartbeat can't be kept in the state directory.");
        }
        let cast = ConductorCast::Heartbeat { sent: value, status: Some(status) };
        match self.outbox.try_send(cast) {
            Ok(()) => {
                self.told.send_replace(Some(Told { status, sent_at: value }));
            }
            Err(mpsc::error::TrySendError::Full(_)) => debug!("The broker is slow; a heartbeat is left out."),
            Err(mpsc::error::TrySendError::Closed(_)) => return None,
        }
        Some(sent)
    }
}

fn status_of(health: &Health) -> Option<ServiceStatus> {
    match health {
        Health::Unknown => None,
        Health::Healthy => Some(ServiceStatus::Healthy),
        Health::NoLogin(_) => Some(ServiceStatus::Running),
        Health::Down(_) => Some(ServiceStatus::Shutdown),
        Health::Failing(_) => Some(ServiceStatus::Crashed),
    }
}

/// So that guests that were started together don't all speak at once.
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
