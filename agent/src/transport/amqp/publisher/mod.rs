//! The one way out: a task that publishes what goes to callers and to the conductor, on one connection after the other.
//!
//! ```text
//! commands, heartbeats ──► ReplyPublisher ──► task: Queue (what next? what now?) ──► ConfirmChannel ──► broker
//! ```
//! An answer waits for the next broker rather than being lost: with oslo's non-durable queues a restarted broker has
//! forgotten the command that ran meanwhile and will not deliver it again, but its caller re-declares the same reply queue
//! and still waits, and a user still wants to hear of a failed cast.

mod budget;
mod channel;
mod closure;
mod message;
mod queue;
mod returned;
mod task;

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot, watch},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, Span, debug};

use crate::{
    metrics::Metrics,
    transport::rpc::{Publication, Undeliverable, reminder},
};
pub(super) use channel::ConfirmChannel;
pub(super) use closure::Closure;
use message::Waiter;
use task::{FAREWELL, Publisher, Submission};

/// Publishes through whatever connection there is.
#[derive(Debug, Clone)]
pub(super) struct ReplyPublisher {
    submissions: mpsc::UnboundedSender<Submission>,
    channel: watch::Receiver<Option<ConfirmChannel>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl ReplyPublisher {
    /// Starts the task, which uses the newest channel and ends with the last clone of this value. What it still has to do
    /// when the agent stops is counted among `tasks`.
    pub(super) fn start(
        channel: watch::Receiver<Option<ConfirmChannel>>,
        retry_timeout: Duration,
        metrics: Metrics,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) -> Self {
        // Bounded by who sends: commands under way, and the heartbeat.
        let (submissions, received) = mpsc::unbounded_channel();
        let queue = queue::Queue::new(retry_timeout, metrics, tasks.clone());
        tokio::spawn(Publisher::new(queue, received, channel.clone(), stopping.clone()).run());
        Self { submissions, channel, tasks, stopping }
    }

    /// Returns when a broker has confirmed the message, on this connection or on a later one. What is returned or refused
    /// is soon taken care of in the background: whoever made a queue that takes nothing must not hold a command up.
    pub(super) async fn publish(&self, publication: &Publication) -> Result<(), Undeliverable> {
        let (done, ended) = oneshot::channel();
        self.submit(publication, Waiter::Command { done, held: None });
        ended.await.unwrap_or(Err(Undeliverable::Stopping))
    }

    /// Publishes once, if there is a connection; whether the broker has taken it.
    pub(super) async fn try_publish(&self, publication: &Publication) -> bool {
        let (taken, ended) = oneshot::channel();
        self.submit(publication, Waiter::Once(taken));
        ended.await.unwrap_or(false)
    }

    fn submit(&self, publication: &Publication, waiter: Waiter) {
        let publication = Publication { later: Vec::new(), ..publication.clone() };
        let submission = Submission { publication, waiter, span: Span::current() };
        // Without a task the waiter is dropped, and whoever waits hears that nothing is published any more.
        drop(self.submissions.send(submission));
    }

    /// Publishes what comes after a message, in the background and at its times.
    pub(super) fn publish_later(&self, publication: &Publication) {
        if publication.later.is_empty() {
            return;
        }
        let publisher = self.clone();
        let publish = move |message: Publication| {
            let publisher = publisher.clone();
            async move {
                debug!("Telling it again: Trove may have written its own words over the reason.");
                if let Err(reason) = publisher.publish(&message).await {
                    debug!(%reason, "A failure could not be told again.");
                }
            }
        };
        let (messages, stopping) = (publication.later.clone(), self.stopping.clone());
        let reminding = reminder::remind(messages, &reminder::AFTER, stopping, publish);
        self.tasks.spawn(reminding.instrument(Span::current()));
    }

    /// Returns when the agent stops although the broker takes nothing: what waits for it comes again.
    pub(super) async fn stopping_while_blocked(&self) {
        self.stopping.cancelled().await;
        loop {
            time::sleep(FAREWELL).await;
            if self.channel.borrow().as_ref().is_some_and(ConfirmChannel::is_blocked) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
