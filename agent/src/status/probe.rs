//! Asks CouchDB how it does, again and again.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time};
use tracing::{debug, info, warn};

use crate::couch::{AdminLogin, Couch, Health};

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
        let now = couch.health().await;
        let changed = health.send_if_modified(|before| {
            let changed = *before != now;
            *before = now.clone();
            changed
        });
        if changed {
            match &now {
                Health::Unknown => {}
                Health::Healthy => info!("CouchDB is healthy."),
                Health::NoLogin(reason) | Health::Down(reason) | Health::Failing(reason) => {
                    warn!(reason, "CouchDB is not healthy.");
                }
            }
        }
        if now == Health::Healthy
            && let Err(error) = couch.server().await
        {
            debug!(%error, "CouchDB did not tell its version.");
        }
        tokio::select! {
            () = time::sleep(interval) => {}
            changed = admin.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
