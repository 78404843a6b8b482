//! The source of a request. Its answer and its acknowledgement go back there.
//!
//! The broker, the local socket and the disk implement these traits. Everything else is the same for all
//! commands, and is in `pipeline`.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use trove_couchdb_protocol::{Failure, FailureClass};

use super::{
    answer::{Publication, ReplyEncoder, Responder},
    compression::Compression,
};
use crate::{audit::Source, operations::Operation};

/// A message that has arrived.
#[derive(Debug)]
pub(in crate::transport) struct IncomingMessage {
    pub(in crate::transport) body: Vec<u8>,
    /// How the body is compressed, if it is.
    pub(in crate::transport) compression: Option<Compression>,
    /// An earlier agent may have done a part of the command.
    pub(in crate::transport) redelivered: bool,
    /// How long the caller waits for the answer, if that is known.
    pub(in crate::transport) caller_timeout: Option<Duration>,
    /// The message has waited in the broker for an unknown time, and only the broker knows whether its caller
    /// still waits. It is taken if it can begin at once, and otherwise left in the broker.
    pub(in crate::transport) at_once_or_not: bool,
    pub(in crate::transport) source_ref: RequestSourceRef,
}

/// The source of a message.
pub(in crate::transport) type RequestSourceRef = Arc<dyn RequestSource>;

/// The kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) enum RequestTransport {
    Broker,
    Local,
    Disk,
}

/// Why a message will not be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::transport) enum Undeliverable {
    #[error("the agent stops and there is no broker")]
    Stopping,
    #[error("its queue has a name that can't exist")]
    QueueName,
}

/// Publishes answers.
pub(in crate::transport) trait Replies: fmt::Debug + Send + Sync {
    /// How answers are encoded: the key protects answers on the broker, while on the socket the kernel
    /// identifies the peer.
    fn encoder(&self) -> &ReplyEncoder;

    /// Publishes a part of an answer; returns when it can no longer be lost, or has no recipient.
    fn publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, Result<(), Undeliverable>>;
}

/// The source of one message, which waits for the answer.
pub(in crate::transport) trait RequestSource: Replies {
    fn transport(&self) -> RequestTransport;

    /// For the audit log.
    fn source(&self) -> Source;

    /// The operation, if the command is one.
    fn operation(&self) -> Option<&Operation> {
        None
    }

    /// Publishes a message once, if that is possible right now.
    fn try_publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, ()>;

    /// The command is done. True if the acknowledgement was sent.
    fn acknowledge(&self) -> BoxFuture<'_, bool>;

    /// The command was not run, and may be sent again.
    fn requeue(&self, responder: Responder) -> BoxFuture<'_, ()>;

    /// The outcome of the command is unknown. It must not be redelivered, and its sender must not wait
    /// forever.
    fn reject(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.acknowledge().await;
        })
    }
}

/// The failure of a command that was not begun because the agent stops.
pub(in crate::transport) fn stopping() -> Failure {
    Failure::new(FailureClass::Stopping, "the agent is stopping; send the command again")
}
