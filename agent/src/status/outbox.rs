//! What the heartbeat has for the conductor on its way to the transport, and what the broker has taken of it.

use std::time::Instant;

use tokio::sync::{mpsc, watch};
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};

/// Casts that may wait for the broker.
const PLACES: usize = 16;

/// The last heartbeat that the broker has taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastReported {
    /// What the conductor was told last.
    pub status: ServiceStatus,
    /// The heartbeat's `sent`, in Unix seconds.
    pub sent_at: f64,
    /// When that was, by a clock that nobody sets.
    pub at: Instant,
}

/// The transport's end.
#[derive(Debug)]
pub struct Outbox {
    posted: mpsc::Receiver<ConductorCast>,
    last_reported: watch::Sender<Option<LastReported>>,
}

impl Outbox {
    /// With where to post, and where to look for what has gone out.
    pub fn new() -> (mpsc::Sender<ConductorCast>, Self, watch::Receiver<Option<LastReported>>) {
        let (post, posted) = mpsc::channel(PLACES);
        let (last_reported, gone_out) = watch::channel(None);
        (post, Self { posted, last_reported }, gone_out)
    }

    /// The next one; `None` when nobody posts any more.
    pub async fn next(&mut self) -> Option<ConductorCast> {
        self.posted.recv().await
    }

    /// The broker has taken this one.
    pub fn has_gone_out(&self, cast: &ConductorCast) {
        if let ConductorCast::Heartbeat { sent, status } = cast {
            self.last_reported.send_modify(|last_reported| {
                let status = status.or(last_reported.map(|before| before.status));
                *last_reported =
                    status.map(|status| LastReported { status, sent_at: *sent, at: Instant::now() });
            });
        }
    }
}
