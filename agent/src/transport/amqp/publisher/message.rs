//! A message to be published: what waits for it, and the result of its attempts.

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

/// A larger message counts against [`LARGE_AT_ONCE`].
const LARGE: usize = 64 * 1024;

/// How many bytes of large messages may be in flight. Each is in memory three times: its body, lapin's
/// frames, and the copy that the broker returns.
pub(super) const LARGE_AT_ONCE: usize = 16 * 1024 * 1024;

/// Receives the result when a command's message is at the broker, or will not be published.
pub(super) type Done = oneshot::Sender<Result<(), Undeliverable>>;

/// What waits for a message.
#[derive(Debug)]
pub(super) enum Waiter {
    /// A sender that cannot use it later: the message is published once, and the sender learns whether the
    /// broker accepted it.
    Once(oneshot::Sender<bool>),
    /// A command, until the broker accepts its message or the message waits in the background.
    Command { done: Done, held: Option<Instant> },
    /// Nothing: the message waits in the background.
    Nobody { since: Since, _places: Places, _tracked: TaskTrackerToken },
}

/// A message that is not at the broker yet.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) publication: Publication,
    pub(super) waiter: Waiter,
    pub(super) trial: Trial,
    pub(super) under_way: bool,
    /// The earliest time of the next attempt.
    pub(super) due: Option<Instant>,
    /// The account was not allowed to write in the last attempt.
    pub(super) forbidden: bool,
    /// The command's span, for log lines.
    pub(super) span: Span,
}

/// Identifies a message in the queue.
pub(super) type Id = u64;

/// A message to be published now.
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
    /// The agent stops, and the broker accepts nothing.
    Abandoned,
}

impl Message {
    pub(super) fn new(publication: Publication, waiter: Waiter, span: Span) -> Self {
        let trial = Trial::default();
        Self { publication, waiter, trial, under_way: false, due: None, forbidden: false, span }
    }

    /// How much of [`LARGE_AT_ONCE`] the message takes.
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
