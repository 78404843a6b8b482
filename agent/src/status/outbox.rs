//! The queue from the heartbeat to the transport, and the last heartbeat that the broker accepted.

use std::time::Instant;

use tokio::sync::{mpsc, watch};
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};

/// The capacity of the queue.
const PLACES: usize = 16;

/// The last heartbeat that the broker accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastReported {
    /// The last status that was sent.
    pub status: ServiceStatus,
    /// The heartbeat's `sent`, in Unix seconds.
    pub sent_at: f64,
    /// When the broker accepted it, by the monotonic clock.
    pub at: Instant,
}

/// The transport's side of the queue.
#[derive(Debug)]
pub struct Outbox {
    posted: mpsc::Receiver<ConductorCast>,
    last_reported: watch::Sender<Option<LastReported>>,
}

impl Outbox {
    /// Returns the sender, the queue, and a receiver of the last accepted heartbeat.
    pub fn new() -> (mpsc::Sender<ConductorCast>, Self, watch::Receiver<Option<LastReported>>) {
        let (post, posted) = mpsc::channel(PLACES);
        let (last_reported, gone_out) = watch::channel(None);
        (post, Self { posted, last_reported }, gone_out)
    }

    /// The next cast; `None` once all senders are gone.
    pub async fn next(&mut self) -> Option<ConductorCast> {
        self.posted.recv().await
    }

    /// Records that the broker accepted this cast.
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
