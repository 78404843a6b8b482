//! Publishing with confirms, as oslo.messaging would and a little more carefully.

use std::{sync::Arc, time::Duration};

use lapin::{
    BasicProperties, Channel, Confirmation, message::BasicReturnMessage, options::BasicPublishOptions,
    types::ShortString,
};
use tokio::{
    sync::Semaphore,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    answer::{Destination, Publication},
    topology::Names,
};

/// oslo.messaging tries again at this interval to reach a caller's queue that isn't there
/// (_drivers/amqpdriver.py, `_send_reply`).
const RETURNED_RETRY: Duration = Duration::from_millis(250);

/// The broker has no room for a message just now (a full disk, a queue without its majority).
const NACK_RETRY: Duration = Duration::from_secs(1);

/// Replies that wait for their queue at the same time; more are dropped. Each holds its body in memory.
const RETURNED_AT_ONCE: usize = 256;

/// A channel in confirm mode.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    channel: Channel,
    names: Arc<Names>,
    returned: Arc<Semaphore>,
    /// How long a caller's queue may be missing.
    missing_consumer: Duration,
    /// Cancelled when the channel is of no use any more: its session is to be given up.
    broken: CancellationToken,
}

/// Why a message did not reach the broker.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error(transparent)]
    Broker(lapin::Error),
    #[error("the name of the reply queue is over 255 bytes long")]
    QueueName,
}

impl Publisher {
    /// Publishes on `channel`, which must be in confirm mode.
    pub(super) fn new(channel: Channel, names: Arc<Names>, missing_consumer: Duration) -> Self {
        let returned = Arc::new(Semaphore::new(RETURNED_AT_ONCE));
        Self { channel, names, returned, missing_consumer, broken: CancellationToken::new() }
    }

    /// Returns when nothing can be published any more.
    pub(super) async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Hands a message to the broker and waits for its confirmation.
    pub(super) async fn publish(&self, publication: &Publication) -> Result<(), PublishError> {
        let (exchange, routing_key, mandatory) = match &publication.to {
            Destination::Reply(queue) => ("", queue.as_str(), true),
            Destination::Conductor => (self.names.exchange.as_str(), self.names.conductor.as_str(), false),
        };
        loop {
            match self.send(exchange, routing_key, mandatory, &publication.body).await? {
                Confirmation::Nack(_) => {
                    warn!("The broker could not take a message; it is offered again.");
                    time::sleep(NACK_RETRY).await;
                }
                Confirmation::Ack(Some(returned)) => {
                    self.try_later(returned);
                    return Ok(());
                }
                Confirmation::Ack(None) | Confirmation::NotRequested => return Ok(()),
            }
        }
    }

    async fn send(
        &self,
        exchange: &str,
        routing_key: &str,
        mandatory: bool,
        body: &[u8],
    ) -> Result<Confirmation, PublishError> {
        let name = |text: &str| ShortString::try_new(text.to_owned()).map_err(|_| PublishError::QueueName);
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        let (exchange, routing_key) = (name(exchange)?, name(routing_key)?);
        let sent = async {
            self.channel.basic_publish(exchange, routing_key, options, body, properties()).await?.await
        };
        sent.await.map_err(|error| {
            self.broken.cancel();
            PublishError::Broker(error)
        })
    }

    /// Takes care of a reply whose queue isn't there, in the background: the command has run and may be
    /// acknowledged, and its caller may only be about to come back.
    ///
    /// lapin may hand the returned message of one publication to another that was under way at the same time.
    /// So it is the message itself that is sent again, whoever got it.
    fn try_later(&self, message: BasicReturnMessage) {
        let Ok(permit) = Arc::clone(&self.returned).try_acquire_owned() else {
            warn!("A reply has no queue, and too many others wait for theirs; it is dropped.");
            return;
        };
        let publisher = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let deadline = Instant::now() + publisher.missing_consumer;
            let mut message = message;
            while Instant::now() + RETURNED_RETRY < deadline {
                time::sleep(RETURNED_RETRY).await;
                let queue = message.routing_key.as_str().to_owned();
                match publisher.send("", &queue, true, &message.data).await {
                    Ok(Confirmation::Ack(Some(again))) => message = again,
                    Ok(_) => {
                        debug!("A reply found its queue after all.");
                        return;
                    }
                    // With the connection the broker has lost the caller's queue too.
                    Err(_) => return,
                }
            }
            let queue = message.routing_key.as_str();
            warn!(queue, "The caller's reply queue is gone; its reply is dropped.");
        });
    }
}

/// The properties that kombu sets (PROTOCOL: persistent, JSON, UTF-8).
fn properties() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(0)
        .with_headers(lapin::types::FieldTable::default())
}
