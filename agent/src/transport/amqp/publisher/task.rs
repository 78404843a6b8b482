//! The task that publishes what the queue selects.

use std::time::Duration;

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::{
    channel::{ConfirmChannel, Confirmed, Offer},
    message::{Attempt, Id, Outcome, Waiter},
    queue::Queue,
    returned::Returned,
};
use crate::transport::rpc::Publication;

/// How long a stopping agent waits for messages that no command waits for, and for a blocked connection.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// A message to be published.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) publication: Publication,
    pub(super) waiter: Waiter,
    pub(super) span: Span,
}

/// The result of an attempt, and a different message that was returned with its confirmation.
type Ended = (Id, Outcome, Option<Returned>);

/// The task's state.
pub(super) struct Publisher {
    queue: Queue,
    submissions: mpsc::UnboundedReceiver<Submission>,
    channel: watch::Receiver<Option<ConfirmChannel>>,
    stopping: CancellationToken,
    under_way: FuturesUnordered<BoxFuture<'static, Ended>>,
}

impl Publisher {
    pub(super) fn new(
        queue: Queue,
        submissions: mpsc::UnboundedReceiver<Submission>,
        channel: watch::Receiver<Option<ConfirmChannel>>,
        stopping: CancellationToken,
    ) -> Self {
        Self { queue, submissions, channel, stopping, under_way: FuturesUnordered::new() }
    }

    /// Returns when all senders are gone, or when there will be no more channels.
    pub(super) async fn run(mut self) {
        let (stopping, mut stopped) = (self.stopping.clone(), false);
        loop {
            let due = self.begin();
            let due = async {
                match due {
                    Some(due) => time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((id, outcome, returned)) = self.under_way.next() => {
                    let now = Instant::now();
                    if let Some(returned) = returned {
                        self.queue.came_back(returned, now);
                    }
                    self.queue.ended(id, outcome, now);
                }
                submission = self.submissions.recv() => match submission {
                    Some(Submission { publication, waiter, span }) => self.queue.push(publication, waiter, span),
                    None => return,
                },
                changed = self.channel.changed() => if changed.is_err() { return },
                () = stopping.cancelled(), if !stopped => {
                    stopped = true;
                    self.queue.stop();
                }
                () = due => {}
            }
        }
    }

    /// Publishes all messages that are ready; returns when there may be more.
    fn begin(&mut self) -> Option<Instant> {
        let channel = self.channel.borrow_and_update().clone().filter(ConfirmChannel::is_usable);
        let Some(channel) = channel else {
            self.queue.no_channel();
            return None;
        };
        let now = Instant::now();
        while let Some(attempt) = self.queue.next(now) {
            let (span, stopping) = (attempt.span.clone(), self.stopping.clone());
            let attempt = publish(attempt, channel.clone(), stopping).instrument(span);
            self.under_way.push(Box::pin(attempt));
        }
        self.queue.next_due(now)
    }
}

async fn publish(attempt: Attempt, channel: ConfirmChannel, stopping: CancellationToken) -> Ended {
    let Attempt { id, publication, offer, .. } = attempt;
    let once = matches!(offer, Offer::Once);
    let given_up = async {
        stopping.cancelled().await;
        loop {
            time::sleep(FAREWELL).await;
            if once || channel.is_blocked() {
                return;
            }
        }
    };
    tokio::select! {
        confirmed = channel.publish(&publication, offer) => match confirmed {
            Ok(Confirmed { handed, another }) => (id, Outcome::Handed(handed), another),
            Err(error) => (id, Outcome::Failed(error), None),
        },
        () = given_up => (id, Outcome::Abandoned, None),
    }
}
