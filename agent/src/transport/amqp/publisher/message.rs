//! One message on its way: who waits for it, and what is known of its attempts.

use tokio::{sync::oneshot, time::Instant};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Span;

use super::{
    budget::Places,
    channel::{Handed, Offer, PublishError},
    closure::Trial,
    returned::Since,
};
use crate::transport::rpc::{Publication, Undeliverable};

/// A message of more bytes than that is large: it waits for its turn to be published.
const LARGE: usize = 64 * 1024;

/// Bytes of large messages on their way to the broker. Each is there thrice: as it was made, in lapin's frames, and as
/// the broker returns it.
pub(super) const LARGE_AT_ONCE: usize = 16 * 1024 * 1024;

/// A command's message is at the broker, or will not be.
pub(super) type Done = oneshot::Sender<Result<(), Undeliverable>>;

/// Who waits for a message.
#[derive(Debug)]
pub(super) enum Waiter {
    /// Nobody can use it later: it goes out once, and whoever gave it hears whether the broker took it.
    Once(oneshot::Sender<bool>),
    /// A command, until its message is taken or waits in the background.
    Command { done: Done, held: Option<Instant> },
    /// Nobody: in the background.
    Nobody { since: Since, _places: Places, _tracked: TaskTrackerToken },
}

/// A message that is not at the broker yet.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) publication: Publication,
    pub(super) waiter: Waiter,
    pub(super) trial: Trial,
    pub(super) under_way: bool,
    /// Not before.
    pub(super) due: Option<Instant>,
    /// The last attempt was not allowed.
    pub(super) forbidden: bool,
    /// What is logged of it belongs to its command.
    pub(super) span: Span,
}

/// Identifies a message of the queue.
pub(super) type Id = u64;

/// What is to be published now.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) id: Id,
    pub(super) publication: Publication,
    pub(super) offer: Offer,
    pub(super) span: Span,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Handed(Handed),
    Failed(PublishError),
    /// The agent stops, and the broker takes nothing.
    Abandoned,
}

impl Message {
    pub(super) fn new(publication: Publication, waiter: Waiter, span: Span) -> Self {
        let trial = Trial::default();
        Self { publication, waiter, trial, under_way: false, due: None, forbidden: false, span }
    }

    /// What it takes of [`LARGE_AT_ONCE`].
    pub(super) fn large_bytes(&self) -> usize {
        let bytes = self.publication.body.len();
        if bytes > LARGE { bytes.min(LARGE_AT_ONCE) } else { 0 }
    }

    pub(super) fn attempt(&self, id: Id) -> Attempt {
        let offer = match self.waiter {
            Waiter::Once(_) => Offer::Once,
            Waiter::Command { .. } => Offer::Mandatory,
            Waiter::Nobody { since, .. } => Offer::Again(since),
        };
        Attempt { id, publication: self.publication.clone(), offer, span: self.span.clone() }
    }
}
