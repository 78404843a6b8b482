//! One channel in confirm mode: what was handed to the broker is known to be there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lapin::{
    BasicProperties, Channel, Confirmation, ErrorKind, options::BasicPublishOptions, types::FieldTable,
};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{
    answer::{Destination, Publication},
    refusal::Refusal,
    returned::{Returned, Since},
    topology::{self, Names},
};

/// A confirmation that takes longer won't come: a queue without its majority, a broker that blocks publishers.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);

/// Between the end of a channel and the word to the message that it ended for.
const REASON_LIMIT: Duration = Duration::from_secs(1);

/// The publishing side of one connection.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    channel: Channel,
    names: Arc<Names>,
    /// Cancelled when the channel is of no use any more.
    broken: CancellationToken,
    /// It was closed because of one message.
    by_message: Arc<AtomicBool>,
}

/// Why nothing can be published any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The broker did not want one of the messages, and closed their channel: another one will do.
    ByMessage,
    /// The session is to be given up.
    Lost,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Offer {
    /// The broker drops it if it has no queue.
    Once,
    /// The broker returns it if it has no queue.
    Mandatory,
    /// The same, for one that has been waiting since then.
    Again(Since),
}

/// What the broker did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handed {
    /// It has it.
    Taken,
    /// It could not store it just now.
    Refused,
    /// A queue of that name doesn't exist.
    Returned,
}

/// What a confirmation says.
#[derive(Debug)]
#[must_use]
pub(super) struct Confirmed {
    pub(super) handed: Handed,
    /// With several messages under way lapin hands the returned one to whichever confirmation comes next. So another
    /// message, whose own confirmation tells nothing of it, may have no queue.
    pub(super) another: Option<Returned>,
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
    #[error("the broker takes at most {limit} bytes (its max_message_size)")]
    TooLarge { limit: usize },
    #[error("the broker does not let this account write there: {0}")]
    Forbidden(lapin::Error),
}

impl Publisher {
    /// Publishes on `channel`, which must be in confirm mode.
    pub(super) fn new(channel: Channel, names: Arc<Names>) -> Self {
        Self { channel, names, broken: CancellationToken::new(), by_message: Arc::default() }
    }

    /// The same on another channel.
    pub(super) fn on(&self, channel: Channel) -> Self {
        Self::new(channel, Arc::clone(&self.names))
    }

    /// Whether something may still be published.
    pub(super) fn is_usable(&self) -> bool {
        !self.broken.is_cancelled()
    }

    /// Returns when nothing can be published any more.
    pub(super) async fn broken(&self) -> Broken {
        self.broken.cancelled().await;
        if self.by_message.load(Ordering::Acquire) { Broken::ByMessage } else { Broken::Lost }
    }

    /// Hands a message to the broker and waits for its confirmation. Not to be dropped before it returns: the
    /// confirmation may bear what another task waits for.
    pub(super) async fn publish(
        &self,
        publication: &Publication,
        offer: Offer,
    ) -> Result<Confirmed, PublishError> {
        let (exchange, key) = match &publication.to {
            Destination::Reply(queue) => ("", queue.as_str()),
            Destination::Conductor => (self.names.exchange.as_str(), self.names.conductor.as_str()),
        };
        let key = topology::short(key).map_err(|_| PublishError::QueueName)?;
        let to = topology::short(exchange).map_err(|_| PublishError::QueueName)?;
        let mandatory = !matches!(offer, Offer::Once);
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        let properties = match offer {
            Offer::Once | Offer::Mandatory => properties(),
            Offer::Again(since) => since.noted_in(properties()),
        };
        let body = &publication.body;
        let confirmed = async { self.channel.basic_publish(to, key, options, body, properties).await?.await };
        let confirmation = match time::timeout(CONFIRM_LIMIT, confirmed).await {
            Ok(Ok(confirmation)) => confirmation,
            Ok(Err(error)) => return Err(self.closed(error, exchange, body.len()).await),
            Err(_) => {
                self.broken.cancel();
                return Err(PublishError::Unconfirmed);
            }
        };
        let (handed, returned) = match confirmation {
            Confirmation::Ack(returned) => (Handed::Taken, returned),
            Confirmation::Nack(returned) => (Handed::Refused, returned),
            Confirmation::NotRequested => (Handed::Taken, None),
        };
        let returned = returned.map(Returned::from);
        Ok(match returned {
            Some(returned) if mandatory && returned.message.is(publication) => {
                Confirmed { handed: Handed::Returned, another: None }
            }
            another => Confirmed { handed, another },
        })
    }

    /// What the end of the channel means for a message that was under way on it.
    async fn closed(&self, error: lapin::Error, exchange: &str, bytes: usize) -> PublishError {
        let refusal = Refusal::of(&error);
        if refusal.is_some() {
            self.by_message.store(true, Ordering::Release);
        } else if matches!(error.kind(), ErrorKind::InvalidChannelState(..)) {
            // It came too late to hear the reason; those that hear it say what is to become of the session.
            let _known = time::timeout(REASON_LIMIT, self.broken.cancelled()).await;
        }
        self.broken.cancel();
        match refusal.filter(|refusal| refusal.concerns(exchange, bytes)) {
            Some(Refusal::TooLarge { limit }) => PublishError::TooLarge { limit },
            Some(Refusal::Forbidden { .. }) => PublishError::Forbidden(error),
            None => PublishError::Closed(error),
        }
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
