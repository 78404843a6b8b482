//! Asks CouchDB how it does, again and again.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time};
use tracing::{debug, info, warn};

use crate::couch::{AdminLogin, Couch, Health};

/// How soon a slow CouchDB is asked again: one that hangs shall not pass for slow until the next regular look.
const SOON: Duration = Duration::from_secs(5);

/// Publishes CouchDB's health at every change, looking at least every `interval` and whenever the login changes.
pub async fn probe_for_ever(
    couch: Arc<Couch>,
    mut admin: watch::Receiver<AdminLogin>,
    interval: Duration,
    health: watch::Sender<Health>,
) {
    // Bootstrap's first verdict is worth waiting for: before it there is never a login.
    if let Ok(Err(_)) = time::timeout(interval, admin.changed()).await {
        return;
    }
    loop {
        let before = health.borrow().clone();
        let now = couch.health(&before).await;
        let changed = health.send_if_modified(|before| {
            let changed = *before != now;
            *before = now.clone();
            changed
        });
        if changed {
            match &now {
                Health::Unknown => {}
                Health::Healthy => info!("CouchDB is healthy."),
                Health::Slow(reason) => warn!(reason, "CouchDB is slow."),
                Health::NoLogin(reason)
                | Health::Down(reason)
                | Health::Degraded(reason)
                | Health::Maintenance(reason)
                | Health::Failing(reason) => {
                    warn!(reason, "CouchDB is not healthy.");
                }
            }
        }
        // Not known yet, or an answer named another one.
        if now == Health::Healthy
            && let Err(error) = couch.server().await
        {
            debug!(%error, "CouchDB did not tell its version.");
        }
        let again = if matches!(now, Health::Slow(_)) { interval.min(SOON) } else { interval };
        tokio::select! {
            () = time::sleep(again) => {}
            changed = admin.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
