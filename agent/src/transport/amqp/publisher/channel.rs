//! One channel in confirm mode: the broker confirms every message it has accepted.

use std::{sync::Arc, time::Duration};

use lapin::{Channel, Confirmation, ConnectionStatus, options::BasicPublishOptions};
use tokio::{sync::watch, time};
use trove_couchdb_guest::broker::{self, Names, properties};

use super::{
    closure::Closure,
    returned::{Returned, Since},
};
use crate::transport::rpc::{Destination, Publication};

/// A confirmation that takes longer will not come, for example because the queue lacks a majority. The wait
/// has no limit while the broker blocks the connection.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);

/// How often a wait for a confirmation checks whether the connection is blocked.
const LOOK: Duration = Duration::from_secs(1);

/// How long to wait for the reason why the channel closed.
const REASON_LIMIT: Duration = Duration::from_secs(5);

/// The channel on which one connection publishes replies.
#[derive(Debug, Clone)]
pub(in super::super) struct ConfirmChannel {
    channel: Channel,
    names: Arc<Names>,
    connection: ConnectionStatus,
    /// How the channel closed. Once this is set, nothing more can be published.
    closed: watch::Sender<Option<Closure>>,
    /// How the connection ended, once that is known.
    connection_ended: watch::Receiver<Option<Closure>>,
}

/// What the broker does with a message whose queue is missing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Offer {
    /// The broker drops it.
    Once,
    /// The broker returns it.
    Mandatory,
    /// Like `Mandatory`, for a message that has been waiting since then.
    Again(Since),
}

/// What the broker did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handed {
    /// The broker accepted it.
    Taken,
    /// The broker could not store it.
    Refused,
    /// No queue of that name exists.
    Returned,
}

/// The content of a confirmation.
#[derive(Debug)]
#[must_use]
pub(super) struct Confirmed {
    pub(super) handed: Handed,
    /// With several messages in flight, lapin attaches a returned message to whichever confirmation comes
    /// next. So this may be a different message that has no queue, and its own confirmation does not say so.
    pub(super) another: Option<Returned>,
}

/// Why a message did not reach the broker.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error("the channel for answers is closed: {error}")]
    Closed {
        error: lapin::Error,
        /// How the channel closed, if this message may be the cause.
        under_way: Option<Closure>,
    },
    #[error("the broker did not confirm within {} s", CONFIRM_LIMIT.as_secs())]
    Unconfirmed,
    #[error("the name of the queue is over 255 bytes long")]
    QueueName,
}

impl ConfirmChannel {
    /// Publishes on `channel`, which must be in confirm mode.
    pub(in super::super) fn new(
        channel: Channel,
        names: Arc<Names>,
        connection: ConnectionStatus,
        connection_ended: watch::Receiver<Option<Closure>>,
    ) -> Self {
        Self { channel, names, connection, closed: watch::Sender::new(None), connection_ended }
    }

    /// The same for a new channel of the same connection.
    pub(in super::super) fn on(&self, channel: Channel) -> Self {
        Self::new(channel, Arc::clone(&self.names), self.connection.clone(), self.connection_ended.clone())
    }

    /// Whether the channel can still publish.
    pub(super) fn is_usable(&self) -> bool {
        self.closed.borrow().is_none()
    }

    /// Whether the broker blocks this connection (`connection.blocked`).
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.blocked()
    }

    /// Returns when the channel has closed. True if a new channel on the same connection may work.
    pub(in super::super) async fn ends(&self) -> bool {
        let mut closed = self.closed.subscribe();
        // This cannot fail: `self` holds the sender.
        let closed = closed.wait_for(Option::is_some).await;
        closed.is_ok_and(|closed| closed.is_some_and(Closure::leaves_the_connection))
    }

    /// Publishes a message and waits for the broker's confirmation. Do not drop the future before it returns:
    /// the confirmation may contain a different, returned message.
    pub(super) async fn publish(
        &self,
        publication: &Publication,
        offer: Offer,
    ) -> Result<Confirmed, PublishError> {
        let (exchange, key) = match &publication.to {
            Destination::Reply(queue) => ("", queue.as_str()),
            Destination::Conductor => (self.names.exchange.as_str(), self.names.conductor.as_str()),
        };
        let key = broker::short(key).map_err(|_| PublishError::QueueName)?;
        let exchange = broker::short(exchange).map_err(|_| PublishError::QueueName)?;
        let mandatory = !matches!(offer, Offer::Once);
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        let properties = match offer {
            Offer::Once | Offer::Mandatory => properties(),
            Offer::Again(since) => since.noted_in(properties()),
        };
        let body = &publication.body;
        // lapin may report a message as unsent although it was written. So a message begun on an open channel
        // is a suspect.
        let may_be_sent = self.channel.status().connected();
        let confirmed =
            async { self.channel.basic_publish(exchange, key, options, body, properties).await?.await };
        let confirmation = tokio::select! {
            biased;
            confirmed = confirmed => confirmed,
            () = self.takes_too_long() => {
                self.note_closed(Closure::Outage);
                return Err(PublishError::Unconfirmed);
            }
        };
        let confirmation = match confirmation {
            Ok(confirmation) => confirmation,
            Err(error) => {
                let closure = self.closure(&error).await;
                return Err(PublishError::Closed { error, under_way: may_be_sent.then_some(closure) });
            }
        };
        let (handed, returned) = match confirmation {
            Confirmation::Ack(returned) => (Handed::Taken, returned),
            Confirmation::Nack(returned) => (Handed::Refused, returned),
            Confirmation::NotRequested => (Handed::Taken, None),
        };
        Ok(match returned.and_then(Returned::read) {
            Some(returned) if mandatory && returned.message.is(publication) => {
                Confirmed { handed: Handed::Returned, another: None }
            }
            another => Confirmed { handed, another },
        })
    }

    /// Returns when a confirmation will no longer come. The wait starts over while the connection is blocked.
    async fn takes_too_long(&self) {
        let mut waited = Duration::ZERO;
        while waited < CONFIRM_LIMIT {
            time::sleep(LOOK).await;
            waited = if self.is_blocked() { Duration::ZERO } else { waited + LOOK };
        }
    }

    /// How the channel closed. Only some of the messages in flight receive the reason; they share it with the
    /// others.
    async fn closure(&self, error: &lapin::Error) -> Closure {
        let told = Closure::of(error);
        if told != Closure::Outage {
            return self.note_closed(told);
        }
        let (mut closed, mut ended) = (self.closed.subscribe(), self.connection_ended.clone());
        let known = tokio::select! {
            Ok(closure) = closed.wait_for(Option::is_some) => *closure,
            Ok(closure) = ended.wait_for(Option::is_some) => *closure,
            () = time::sleep(REASON_LIMIT) => None,
        };
        self.note_closed(known.unwrap_or(Closure::Outage))
    }

    /// Keeps the first reason.
    fn note_closed(&self, closure: Closure) -> Closure {
        self.closed.send_if_modified(|closed| closed.is_none() && closed.replace(closure).is_none());
        self.closed.borrow().unwrap_or(closure)
    }
}
