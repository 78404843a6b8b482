//! One channel in confirm mode: what was handed to the broker is known to be there.

use std::{sync::Arc, time::Duration};

use lapin::{Channel, Confirmation, ConnectionStatus, options::BasicPublishOptions};
use tokio::{sync::watch, time};
use trove_couchdb_guest::broker::{self, Names, properties};

use super::{
    closure::Closure,
    returned::{Returned, Since},
};
use crate::transport::rpc::{Destination, Publication};

/// A confirmation that takes longer won't come: a queue without its majority. A broker that has blocked the connection is
/// waited for without a limit.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);

/// How often a wait for a confirmation looks whether the connection is blocked.
const LOOK: Duration = Duration::from_secs(1);

/// Between the end of a channel and the word to the message that it ended for.
const REASON_LIMIT: Duration = Duration::from_secs(5);

/// The channel of one connection that answers are published on.
#[derive(Debug, Clone)]
pub(in super::super) struct ConfirmChannel {
    channel: Channel,
    names: Arc<Names>,
    connection: ConnectionStatus,
    /// How the channel ended: nothing can be published any more.
    closed: watch::Sender<Option<Closure>>,
    /// How the connection ended, as soon as that is known.
    connection_ended: watch::Receiver<Option<Closure>>,
}

/// What becomes of a message that has no queue.
#[derive(Debug, Clone, Copy)]
pub(super) enum Offer {
    /// The broker drops it.
    Once,
    /// The broker returns it.
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
    #[error("the channel for answers is closed: {error}")]
    Closed {
        error: lapin::Error,
        /// How it ended, if that may be because of this message.
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

    /// The same on another channel of the same connection.
    pub(in super::super) fn on(&self, channel: Channel) -> Self {
        Self::new(channel, Arc::clone(&self.names), self.connection.clone(), self.connection_ended.clone())
    }

    /// Whether something may still be published.
    pub(super) fn is_usable(&self) -> bool {
        self.closed.borrow().is_none()
    }

    /// Whether the broker takes nothing on this connection just now (`connection.blocked`).
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.blocked()
    }

    /// Returns when nothing can be published any more: whether another channel of the same connection may do.
    pub(in super::super) async fn ends(&self) -> bool {
        let mut closed = self.closed.subscribe();
        // The sender is here.
        let closed = closed.wait_for(Option::is_some).await;
        closed.is_ok_and(|closed| closed.is_some_and(Closure::leaves_the_connection))
    }

    /// Hands a message to the broker and waits for its confirmation. Not to be dropped before it returns: the
    /// confirmation may bear what is to be known of another message.
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
        // lapin may report a message as not sent that is on the wire: one begun on an open channel is a suspect.
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

    /// Returns when a confirmation won't come any more. While the connection is blocked no time passes.
    async fn takes_too_long(&self) {
        let mut waited = Duration::ZERO;
        while waited < CONFIRM_LIMIT {
            time::sleep(LOOK).await;
            waited = if self.is_blocked() { Duration::ZERO } else { waited + LOOK };
        }
    }

    /// How the channel ended. Few of the messages under way hear the reason; they tell the others.
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

    /// The first reason holds.
    fn note_closed(&self, closure: Closure) -> Closure {
        self.closed.send_if_modified(|closed| closed.is_none() && closed.replace(closure).is_none());
        self.closed.borrow().unwrap_or(closure)
    }
}
