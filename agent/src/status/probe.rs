//! Checks CouchDB's health periodically.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time};
use tracing::{debug, info, warn};

use crate::{
    couch::{AdminLogin, Couch, Degraded, Health},
    guest::Lifecycle,
};

/// How soon a slow CouchDB is checked again. A hanging CouchDB must not count as slow until the next regular
/// check.
const SOON: Duration = Duration::from_secs(5);

/// CouchDB's health, and when it was checked.
#[derive(Debug, Clone)]
pub struct ProbeResult {
    /// The health.
    pub health: Health,
    /// When the check was sent. It says nothing about later changes of the process.
    pub asked_at: Instant,
}

impl From<Health> for ProbeResult {
    /// Checked just now.
    fn from(health: Health) -> Self {
        Self { health, asked_at: Instant::now() }
    }
}

/// Publishes CouchDB's health at every change, and after each stop or start by the agent. Checks at least
/// every `interval`, whenever the login changes, and as soon as a stop or start has ended.
pub async fn probe_for_ever(
    couch: Arc<Couch>,
    mut admin: watch::Receiver<AdminLogin>,
    interval: Duration,
    mut lifecycle: Lifecycle,
    results: watch::Sender<ProbeResult>,
) {
    // Wait for bootstrap's first result: there is no login before it.
    if let Ok(Err(_)) = time::timeout(interval, admin.changed()).await {
        return;
    }
    loop {
        let before = results.borrow().health.clone();
        let (process_since, asked_at) = (lifecycle.process_since(), Instant::now());
        let health = couch.health(&before).await;
        lifecycle.saw(health.clone(), asked_at);
        let has_changed = publish(&results, ProbeResult { health: health.clone(), asked_at }, process_since);
        if has_changed {
            log(&health);
        }
        // The version is unknown, or an answer named a different version.
        if health == Health::Healthy
            && let Err(error) = couch.server().await
        {
            debug!(%error, "CouchDB did not tell its version.");
        }
        let again = if matches!(health, Health::Slow(_)) { interval.min(SOON) } else { interval };
        tokio::select! {
            () = time::sleep(again) => {}
            () = lifecycle.process_changed(process_since) => {}
            changed = admin.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Publishes a result and returns whether the health changed. An unchanged result is published too if the
/// last one is from an earlier process.
fn publish(results: &watch::Sender<ProbeResult>, now: ProbeResult, process_since: Option<Instant>) -> bool {
    let mut has_changed = false;
    results.send_if_modified(|before| {
        has_changed = before.health != now.health;
        let is_outdated = process_since.is_some_and(|since| before.asked_at < since);
        *before = now;
        has_changed || is_outdated
    });
    has_changed
}

fn log(health: &Health) {
    match health {
        Health::Unknown => {}
        Health::Healthy => info!("CouchDB is healthy."),
        Health::Slow(reason) => warn!(reason, "CouchDB is slow."),
        Health::NoLogin(reason)
        | Health::Down(reason)
        | Health::Degraded(Degraded { reason, .. })
        | Health::Maintenance(reason)
        | Health::Failing(reason) => warn!(reason, "CouchDB is not healthy."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_same_health_is_told_again_for_a_new_process() {
        let (results, mut told) = watch::channel(ProbeResult::from(Health::Healthy));
        assert!(!publish(&results, Health::Healthy.into(), None));
        assert!(!told.has_changed().unwrap());
        let since = Some(Instant::now());
        assert!(!publish(&results, Health::Healthy.into(), since), "it is no other health");
        assert!(told.has_changed().unwrap());
        told.mark_unchanged();
        assert!(!publish(&results, Health::Healthy.into(), since));
        assert!(!told.has_changed().unwrap());
        assert!(publish(&results, Health::Slow("late".into()).into(), since));
        assert!(told.has_changed().unwrap());
    }
}
