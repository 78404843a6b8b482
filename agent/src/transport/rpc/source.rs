//! Where a request comes from, which is where its answer goes and its receipt goes back.
//!
//! The broker, the local socket and the disk implement this; everything else is the same for all commands, and is in
//! `pipeline`.

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
    /// An earlier agent may have done a part of it.
    pub(in crate::transport) redelivered: bool,
    /// How long its caller waits for the answer, if that is known.
    pub(in crate::transport) caller_waits: Option<Duration>,
    /// It has waited in the broker for a time that its message doesn't tell. Only the broker knows whether its caller still
    /// waits: it is taken if it can begin at once, and else left there.
    pub(in crate::transport) at_once_or_not: bool,
    pub(in crate::transport) source_ref: RequestSourceRef,
}

/// Who brought a message.
pub(in crate::transport) type RequestSourceRef = Arc<dyn RequestSource>;

/// The kind of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) enum RequestTransport {
    Bus,
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

/// Delivers answers.
pub(in crate::transport) trait Replies: fmt::Debug + Send + Sync {
    /// How answers are written: the key protects the bus, and on the socket the kernel vouches for the peer.
    fn encoder(&self) -> &ReplyEncoder;

    /// Delivers a part of an answer; returns when it is where it cannot be lost any more, or has nobody to go to.
    fn publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, Result<(), Undeliverable>>;
}

/// Who brought one message, and waits for its answer.
pub(in crate::transport) trait RequestSource: Replies {
    fn transport(&self) -> RequestTransport;

    /// For the audit log.
    fn source(&self) -> Source;

    /// What is kept of the command, if it is an operation.
    fn operation(&self) -> Option<&Operation> {
        None
    }

    /// Delivers a sign of life, if that is possible just now.
    fn try_publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, ()>;

    /// The command is done for good. Whether its sender could be told so.
    fn acknowledge(&self) -> BoxFuture<'_, bool>;

    /// The command was not run, and may be sent again.
    fn requeue(&self, responder: Responder) -> BoxFuture<'_, ()>;

    /// Nobody knows what became of the command: it must not come again, and its sender must not wait for ever.
    fn reject(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.acknowledge().await;
        })
    }
}

/// What the sender of a command that was not begun is told.
pub(in crate::transport) fn stopping() -> Failure {
    Failure::new(FailureClass::Stopping, "the agent is stopping; send the command again")
}
