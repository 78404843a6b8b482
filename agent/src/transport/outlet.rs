//! The way out that outlives connections: an answer waits for the next broker rather than being lost.
//!
//! With oslo's non-durable queues a restarted broker has forgotten the command that ran meanwhile and will not
//! deliver it again, but its caller re-declares the same reply queue and still waits, and a user still wants to
//! hear of a failed cast.

use std::{sync::Arc, time::Duration};

use lapin::message::BasicReturnMessage;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, Span, debug, warn};

use super::{
    answer::{Destination, Publication},
    publish::{Handed, PublishError, Publisher},
};

/// oslo.messaging tries again at this interval to reach a caller's queue that isn't there
/// (`_drivers/amqpdriver.py`, `_send_reply`).
const RETURNED_RETRY: Duration = Duration::from_millis(250);

/// The broker has no room for a message just now.
const REFUSED_RETRY: Duration = Duration::from_secs(1);

/// For so long a command is kept whose end the conductor can't be told yet, or whose answer the broker has refused: an
/// agent that ends meanwhile is given it again. A conductor declares its queue as soon as it has found the restarted
/// broker.
const KEPT: Duration = Duration::from_secs(10);

/// Commands that are kept so at the same time. They hold up what comes after them on the same user or database, and a place
/// of the prefetch; the ends of others wait in memory alone.
const KEPT_AT_ONCE: usize = 8;

/// Replies that wait for their queue at the same time; more are dropped. Each holds its body in memory.
const REPLIES_AT_ONCE: usize = 256;

/// The same for what the conductor is told, whose places no caller can take.
const ENDS_AT_ONCE: usize = 256;

/// Publishes through whatever connection there is.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    publisher: watch::Receiver<Option<Publisher>>,
    kept: Arc<Semaphore>,
    replies: Arc<Semaphore>,
    ends: Arc<Semaphore>,
    /// How long a caller's queue may be missing.
    missing_consumer: Duration,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// A command that waits for its answer to be taken.
struct Kept {
    _place: OwnedSemaphorePermit,
    since: Instant,
}

/// Why a message will not be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Undeliverable {
    #[error("the agent stops and there is no broker")]
    Stopping,
    #[error("its queue has a name that can't exist")]
    QueueName,
}

impl Outlet {
    /// An outlet that uses the newest publisher.
    pub(super) fn new(
        publisher: watch::Receiver<Option<Publisher>>,
        missing_consumer: Duration,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) -> Self {
        let [kept, replies, ends] =
            [KEPT_AT_ONCE, REPLIES_AT_ONCE, ENDS_AT_ONCE].map(|places| Arc::new(Semaphore::new(places)));
        Self { publisher, kept, replies, ends, missing_consumer, tasks, stopping }
    }

    /// Returns when a broker has confirmed the message, on this connection or on a later one. What is returned or refused
    /// is soon taken care of in the background: whoever made a queue that takes nothing must not hold a command up.
    pub(super) async fn publish(&self, publication: &Publication) -> Result<(), Undeliverable> {
        let mut kept = None;
        loop {
            let publisher = self.usable().await?;
            match publisher.publish(publication, true).await {
                Ok(Handed::Taken) => return Ok(()),
                Ok(Handed::Returned(message)) => {
                    let message = returned(*message);
                    let own = message.to == Destination::Conductor && message.body == publication.body;
                    if !own || !self.is_kept(&mut kept) {
                        self.try_later(message);
                        return Ok(());
                    }
                    self.pause(RETURNED_RETRY).await?;
                }
                Ok(Handed::Refused) => {
                    warn!("The broker could not take a message; it is offered again.");
                    if !self.is_kept(&mut kept) {
                        self.try_later(publication.clone());
                        return Ok(());
                    }
                    self.pause(REFUSED_RETRY).await?;
                }
                Err(PublishError::QueueName) => return Err(Undeliverable::QueueName),
                Err(error) => debug!(%error, "An answer waits for the next connection."),
            }
        }
    }

    /// Whether the command may wait for its answer to be taken.
    fn is_kept(&self, kept: &mut Option<Kept>) -> bool {
        if let Some(kept) = kept {
            return kept.since.elapsed() < KEPT;
        }
        let place = Arc::clone(&self.kept).try_acquire_owned().ok();
        *kept = place.map(|place| Kept { _place: place, since: Instant::now() });
        kept.is_some()
    }

    async fn pause(&self, time: Duration) -> Result<(), Undeliverable> {
        tokio::select! {
            () = time::sleep(time) => Ok(()),
            () = self.stopping.cancelled() => Err(Undeliverable::Stopping),
        }
    }

    /// Publishes once, if there is a connection; whether the broker has taken it.
    pub(super) async fn mention(&self, publication: &Publication) -> bool {
        let publisher = self.publisher.borrow().clone();
        let Some(publisher) = publisher else { return false };
        match publisher.publish(publication, false).await {
            Ok(handed) => matches!(handed, Handed::Taken),
            Err(error) => {
                debug!(%error, "A message did not get through.");
                false
            }
        }
    }

    /// Returns when there is no connection; an outlet without a transport has none either.
    pub(super) async fn lost(&self) {
        let mut publisher = self.publisher.clone();
        if publisher.wait_for(Option::is_none).await.is_err() {
            debug!("The transport is gone.");
        }
    }

    async fn usable(&self) -> Result<Publisher, Undeliverable> {
        let mut publisher = self.publisher.clone();
        let usable = |publisher: &Option<Publisher>| publisher.as_ref().is_some_and(Publisher::is_usable);
        let found = tokio::select! {
            biased;
            found = publisher.wait_for(usable) => found.ok().and_then(|found| found.clone()),
            () = self.stopping.cancelled() => None,
        };
        found.ok_or(Undeliverable::Stopping)
    }

    /// Takes care of a message whose queue isn't there, in the background: the command has run and may be
    /// acknowledged, and its caller, or the conductor after a broker's restart, may only be about to come back.
    fn try_later(&self, message: Publication) {
        let places = match message.to {
            Destination::Reply(_) => &self.replies,
            Destination::Conductor => &self.ends,
        };
        let Ok(permit) = Arc::clone(places).try_acquire_owned() else {
            warn!("A message has no queue, and too many others wait for theirs; it is dropped.");
            return;
        };
        let outlet = self.clone();
        let trying = async move {
            let _permit = permit;
            outlet.until_taken(message).await;
        };
        self.tasks.spawn(trying.instrument(Span::current()));
    }

    async fn until_taken(&self, mut message: Publication) {
        let deadline = Instant::now() + self.missing_consumer;
        let mut last_try = false;
        while !last_try && Instant::now() < deadline {
            last_try = tokio::select! {
                () = time::sleep(RETURNED_RETRY) => false,
                () = self.stopping.cancelled() => true,
            };
            let publisher = self.publisher.borrow().clone();
            let Some(publisher) = publisher.filter(Publisher::is_usable) else { continue };
            match publisher.publish(&message, true).await {
                Ok(Handed::Taken) => return,
                Ok(Handed::Returned(other)) => {
                    message = returned(*other);
                }
                Ok(Handed::Refused) | Err(_) => {}
            }
        }
        warn!(to = ?message.to, "A queue is gone for good; a message to it is dropped.");
    }
}

fn returned(message: BasicReturnMessage) -> Publication {
    let to = match message.exchange.as_str() {
        "" => Destination::Reply(message.routing_key.as_str().to_owned()),
        _ => Destination::Conductor,
    };
    Publication { to, body: message.delivery.data }
}
