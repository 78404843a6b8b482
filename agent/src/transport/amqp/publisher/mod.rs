//! The only way out: a task that publishes messages to callers and to the conductor, on one connection at a
//! time.
//!
//! ```text
//! commands, heartbeats ──► ReplyPublisher ──► task: Queue (what is next, when) ──► ConfirmChannel ──► broker
//! ```
//! A reply waits for the next connection instead of being lost. With oslo's non-durable queues a restarted
//! broker has lost the command and does not redeliver it. But the caller declares its reply queue again and
//! still waits, and a user still has to learn of a failed cast.

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

/// Publishes on the current connection.
#[derive(Debug, Clone)]
pub(super) struct ReplyPublisher {
    submissions: mpsc::UnboundedSender<Submission>,
    channel: watch::Receiver<Option<ConfirmChannel>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl ReplyPublisher {
    /// Starts the task, which uses the newest channel and exits with the last clone of this value. Work left
    /// when the agent stops is counted in `tasks`.
    pub(super) fn start(
        channel: watch::Receiver<Option<ConfirmChannel>>,
        retry_timeout: Duration,
        metrics: Metrics,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) -> Self {
        // Bounded by its senders: commands in flight, and the heartbeat.
        let (submissions, received) = mpsc::unbounded_channel();
        let queue = queue::Queue::new(retry_timeout, metrics, tasks.clone());
        tokio::spawn(Publisher::new(queue, received, channel.clone(), stopping.clone()).run());
        Self { submissions, channel, tasks, stopping }
    }

    /// Returns when a broker has confirmed the message, on this connection or on a later one. A returned or
    /// refused message soon moves to the background: a queue that accepts nothing must not block a command.
    pub(super) async fn publish(&self, publication: &Publication) -> Result<(), Undeliverable> {
        let (done, ended) = oneshot::channel();
        self.submit(publication, Waiter::Command { done, held: None });
        ended.await.unwrap_or(Err(Undeliverable::Stopping))
    }

    /// Publishes once, if there is a connection. True if the broker accepted the message.
    pub(super) async fn try_publish(&self, publication: &Publication) -> bool {
        let (taken, ended) = oneshot::channel();
        self.submit(publication, Waiter::Once(taken));
        ended.await.unwrap_or(false)
    }

    fn submit(&self, publication: &Publication, waiter: Waiter) {
        let publication = Publication { later: Vec::new(), ..publication.clone() };
        let submission = Submission { publication, waiter, span: Span::current() };
        // Without the task the waiter is dropped, and the caller sees that nothing is published any more.
        drop(self.submissions.send(submission));
    }

    /// Publishes the follow-ups of a message in the background, at their times.
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
                    debug!(%reason, "A failure could not be reported again.");
                }
            }
        };
        let (messages, stopping) = (publication.later.clone(), self.stopping.clone());
        let reminding = reminder::remind(messages, &reminder::AFTER, stopping, publish);
        self.tasks.spawn(reminding.instrument(Span::current()));
    }

    /// Returns when the agent stops while the broker blocks the connection: unacknowledged commands are
    /// redelivered.
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
