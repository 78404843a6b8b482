//! The way out that outlives connections: an answer waits for the next broker rather than being lost.
//!
//! With oslo's non-durable queues a restarted broker has forgotten the command that ran meanwhile and will not
//! deliver it again, but its caller re-declares the same reply queue and still waits, and a user still wants to
//! hear of a failed cast.

use std::{sync::Arc, time::Duration};

use lapin::message::BasicReturnMessage;
use tokio::{
    sync::{Semaphore, watch},
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{
    answer::{Destination, Publication},
    publish::{Handed, PublishError, Publisher},
};

/// oslo.messaging tries again at this interval to reach a caller's queue that isn't there
/// (`_drivers/amqpdriver.py`, `_send_reply`).
const RETURNED_RETRY: Duration = Duration::from_millis(250);

/// The broker has no room for a message just now.
const REFUSED_RETRY: Duration = Duration::from_secs(1);

/// For so long a command whose end the conductor can't be told yet is kept: an agent that ends meanwhile is given it again.
/// A conductor declares its queue as soon as it has found the restarted broker.
const CONDUCTOR_AWAITED: Duration = Duration::from_secs(10);

/// Replies that wait for their queue at the same time; more are dropped. Each holds its body in memory.
const RETURNED_AT_ONCE: usize = 256;

/// Publishes through whatever connection there is.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    publisher: watch::Receiver<Option<Publisher>>,
    returned: Arc<Semaphore>,
    /// How long a caller's queue may be missing.
    missing_consumer: Duration,
    tasks: TaskTracker,
    stopping: CancellationToken,
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
        let returned = Arc::new(Semaphore::new(RETURNED_AT_ONCE));
        Self { publisher, returned, missing_consumer, tasks, stopping }
    }

    /// Returns when a broker has confirmed the message, on this connection or on a later one.
    pub(super) async fn publish(&self, publication: &Publication) -> Result<(), Undeliverable> {
        let mut first_return = None;
        loop {
            let publisher = self.usable().await?;
            match publisher.publish(publication, true).await {
                Ok(Handed::Taken) => return Ok(()),
                Ok(Handed::Returned(message)) => {
                    let message = returned(*message);
                    let since = *first_return.get_or_insert_with(Instant::now);
                    let own = message.to == Destination::Conductor && message.body == publication.body;
                    if !own || since.elapsed() > CONDUCTOR_AWAITED {
                        self.try_later(message);
                        return Ok(());
                    }
                    self.pause(RETURNED_RETRY).await?;
                }
                Ok(Handed::Refused) => {
                    warn!("The broker could not take a message; it is offered again.");
                    self.pause(REFUSED_RETRY).await?;
                }
                Err(PublishError::QueueName) => return Err(Undeliverable::QueueName),
                Err(error) => debug!(%error, "An answer waits for the next connection."),
            }
        }
    }

    async fn pause(&self, time: Duration) -> Result<(), Undeliverable> {
        tokio::select! {
            () = time::sleep(time) => Ok(()),
            () = self.stopping.cancelled() => Err(Undeliverable::Stopping),
        }
    }

    /// Publishes once, if there is a connection, and doesn't care what becomes of it.
    pub(super) async fn mention(&self, publication: &Publication) {
        let publisher = self.publisher.borrow().clone();
        if let Some(publisher) = publisher
            && let Err(error) = publisher.publish(publication, false).await
        {
            debug!(%error, "A message did not get through.");
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
        let Ok(permit) = Arc::clone(&self.returned).try_acquire_owned() else {
            warn!("A message has no queue, and too many others wait for theirs; it is dropped.");
            return;
        };
        let outlet = self.clone();
        self.tasks.spawn(async move {
            let _permit = permit;
            outlet.until_taken(message).await;
        });
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
