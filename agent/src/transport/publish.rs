//! One channel in confirm mode: what was handed to the broker is known to be there.

use std::{sync::Arc, time::Duration};

use lapin::{
    BasicProperties, Channel, Confirmation, message::BasicReturnMessage, options::BasicPublishOptions,
    types::FieldTable,
};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{
    answer::{Destination, Publication},
    topology::{self, Names},
};

/// A confirmation that takes longer won't come: a queue without its majority, a broker that blocks publishers.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);

/// The publishing side of one connection.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    channel: Channel,
    names: Arc<Names>,
    /// Cancelled when the channel is of no use any more: its session is to be given up.
    broken: CancellationToken,
}

/// What the broker did with a message.
#[derive(Debug)]
pub(super) enum Handed {
    /// It has it.
    Taken,
    /// It could not store it just now.
    Refused,
    /// A queue of that name doesn't exist.
    ///
    /// With several messages under way lapin may hand the returned one to the publication of another. So this is
    /// the message that has no queue, and not always the one that was just sent.
    Returned(Box<BasicReturnMessage>),
}

/// Why a message did not reach the broker.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error("the channel for replies is closed: {0}")]
    Closed(lapin::Error),
    #[error("the broker did not confirm within {} s", CONFIRM_LIMIT.as_secs())]
    Unconfirmed,
    #[error("the name of the queue is over 255 bytes long")]
    QueueName,
}

impl Publisher {
    /// Publishes on `channel`, which must be in confirm mode.
    pub(super) fn new(channel: Channel, names: Arc<Names>) -> Self {
        Self { channel, names, broken: CancellationToken::new() }
    }

    /// Whether something may still be published.
    pub(super) fn is_usable(&self) -> bool {
        !self.broken.is_cancelled()
    }

    /// Returns when nothing can be published any more.
    pub(super) async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Hands a message to the broker and waits for its confirmation. With `mandatory` the broker returns what has
    /// no queue.
    pub(super) async fn publish(
        &self,
        publication: &Publication,
        mandatory: bool,
    ) -> Result<Handed, PublishError> {
        let (exchange, key) = match &publication.to {
            Destination::Reply(queue) => ("", queue.as_str()),
            Destination::Conductor => (self.names.exchange.as_str(), self.names.conductor.as_str()),
        };
        let exchange = topology::short(exchange).map_err(|_| PublishError::QueueName)?;
        let key = topology::short(key).map_err(|_| PublishError::QueueName)?;
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        let body = &publication.body;
        let confirmed =
            async { self.channel.basic_publish(exchange, key, options, body, properties()).await?.await };
        let confirmation = match time::timeout(CONFIRM_LIMIT, confirmed).await {
            Ok(Ok(confirmation)) => confirmation,
            Ok(Err(error)) => {
                self.broken.cancel();
                return Err(PublishError::Closed(error));
            }
            Err(_) => {
                self.broken.cancel();
                return Err(PublishError::Unconfirmed);
            }
        };
        Ok(match confirmation {
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                Handed::Returned(Box::new(returned))
            }
            Confirmation::Nack(None) => Handed::Refused,
            Confirmation::Ack(None) | Confirmation::NotRequested => Handed::Taken,
        })
    }
}

/// The properties that kombu sets: persistent, JSON, UTF-8 (kombu/messaging.py, `Producer.publish`).
pub fn properties() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(0)
        .with_headers(FieldTable::default())
}
