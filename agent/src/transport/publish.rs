//! One channel in confirm mode: what was handed to the broker is known to be there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lapin::{
    BasicProperties, Channel, Confirmation, ConnectionStatus, ErrorKind, options::BasicPublishOptions,
    types::FieldTable,
};
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;

use super::{
    answer::{Destination, Publication},
    names::Names,
    refusal::Refusal,
    returned::{Returned, Since},
    topology,
    trial::Closure,
};

/// A confirmation that takes longer won't come: a queue without its majority. A broker that has blocked the connection is
/// waited for without a limit.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);

/// How often a wait for a confirmation looks whether the connection is blocked.
const LOOK: Duration = Duration::from_secs(1);

/// Between the end of a channel and the word to the message that it ended for.
const REASON_LIMIT: Duration = Duration::from_secs(5);

/// The publishing side of one connection.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    channel: Channel,
    names: Arc<Names>,
    connection: ConnectionStatus,
    /// Cancelled when the channel is of no use any more.
    broken: CancellationToken,
    /// It was closed because of one message.
    by_message: Arc<AtomicBool>,
    /// How the connection ended, as soon as that is known.
    ended: watch::Receiver<Option<Closure>>,
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
    #[error("the channel for replies is closed: {error}")]
    Closed {
        error: lapin::Error,
        /// How it ended, if that may be because of this message.
        under_way: Option<Closure>,
    },
    #[error("the broker did not confirm within {} s", CONFIRM_LIMIT.as_secs())]
    Unconfirmed,
    #[error("the name of the queue is over 255 bytes long")]
    QueueName,
    #[error("the broker takes at most {limit} bytes (its max_message_size)")]
    TooLarge { limit: usize },
    #[error("the broker does not let this account write there: {0}")]
    Forbidden(lapin::Error),
}

impl PublishError {
    /// How the connection or the channel ended while the message was under way, if that may be its fault.
    pub(super) fn closure(&self) -> Option<Closure> {
        match self {
            Self::Closed { under_way, .. } => *under_way,
            // Its connection is given up.
            Self::Unconfirmed => Some(Closure::Outage),
            Self::QueueName | Self::TooLarge { .. } | Self::Forbidden(_) => None,
        }
    }
}

impl Publisher {
    /// Publishes on `channel`, which must be in confirm mode.
    pub(super) fn new(
        channel: Channel,
        names: Arc<Names>,
        connection: ConnectionStatus,
        ended: watch::Receiver<Option<Closure>>,
    ) -> Self {
        let (broken, by_message) = (CancellationToken::new(), Arc::default());
        Self { channel, names, connection, broken, by_message, ended }
    }

    /// The same on another channel.
    pub(super) fn on(&self, channel: Channel) -> Self {
        Self::new(channel, Arc::clone(&self.names), self.connection.clone(), self.ended.clone())
    }

    /// Whether something may still be published.
    pub(super) fn is_usable(&self) -> bool {
        !self.broken.is_cancelled()
    }

    /// Whether the broker takes nothing on this connection just now (`connection.blocked`).
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.blocked()
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
        // lapin may report a message as not sent that is on the wire: one begun on an open channel is a suspect.
        let may_be_sent = self.channel.status().connected();
        let confirmed = async { self.channel.basic_publish(to, key, options, body, properties).await?.await };
        let confirmation = tokio::select! {
            biased;
            confirmed = confirmed => confirmed,
            () = self.takes_too_long() => {
                self.broken.cancel();
                return Err(PublishError::Unconfirmed);
            }
        };
        let confirmation = match confirmation {
            Ok(confirmation) => confirmation,
            Err(error) => return Err(self.closed(error, exchange, body.len(), may_be_sent).await),
        };
        let (handed, returned) = match confirmation {
            Confirmation::Ack(returned) => (Handed::Taken, returned),
            Confirmation::Nack(returned) => (Handed::Refused, returned),
            Confirmation::NotRequested => (Handed::Taken, None),
        };
        let returned = returned.and_then(Returned::read);
        Ok(match returned {
            Some(returned) if mandatory && returned.message.is(publication) => {
                Confirmed { handed: Handed::Returned, another: None }
            }
            another => Confirmed { handed, another },
        })
    }

    /// Returns when a confirmation won't come any more. While the connection is blocked no time passes.
    async fn takes_too_long(&self) {
        let mut waited = Duration::ZERO;
        while waited < CONFIRM_LIMIT {
            time::sleep(LOOK).await;
            waited = if self.is_blocked() { Duration::ZERO } else { waited + LOOK };
        }
    }

    /// How the connection ended. lapin's error of a message mostly says no more than that it did.
    async fn closure(&self, error: &lapin::Error) -> Closure {
        let of_channel = Closure::of(error);
        if of_channel != Closure::Outage {
            return of_channel;
        }
        let mut ended = self.ended.clone();
        let known = time::timeout(REASON_LIMIT, ended.wait_for(Option::is_some)).await;
        known.ok().and_then(Result::ok).and_then(|closure| *closure).unwrap_or(Closure::Outage)
    }

    /// What the end of the channel means for a message that was to go out on it.
    async fn closed(
        &self,
        error: lapin::Error,
        exchange: &str,
        bytes: usize,
        may_be_sent: bool,
    ) -> PublishError {
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
            None => {
                // Of a refusal it is known whose it is.
                let suspect = may_be_sent && !self.by_message.load(Ordering::Acquire);
                let under_way = if suspect { Some(self.closure(&error).await) } else { None };
                PublishError::Closed { error, under_way }
            }
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
