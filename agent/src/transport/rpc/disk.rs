//! The disk as the source of a command: an operation.

use std::sync::Arc;

use futures_util::{FutureExt, future, future::BoxFuture};
use tracing::{debug, warn};

use super::{
    answer::{Publication, ReplyEncoder, Responder},
    source::{Replies, RequestSource, RequestTransport, Undeliverable},
};
use crate::{audit::Source, operations::Operation};

/// The encoder without a broker, when nothing is published.
static NO_ENCODER: ReplyEncoder = ReplyEncoder { guest_id: String::new(), cipher: None };

/// An operation.
#[derive(Debug)]
pub(super) struct OnDisk {
    pub(super) operation: Operation,
    /// Reports the end of the operation. `None` without a broker.
    pub(super) broker: Option<Arc<dyn Replies>>,
    /// The source of the operation's command.
    pub(super) source: Source,
}

impl Replies for OnDisk {
    fn encoder(&self) -> &ReplyEncoder {
        self.broker.as_ref().map_or(&NO_ENCODER, |broker| broker.encoder())
    }

    fn publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, Result<(), Undeliverable>> {
        self.broker
            .as_ref()
            .map_or_else(|| future::ready(Ok(())).boxed(), |broker| broker.publish(publication))
    }
}

impl RequestSource for OnDisk {
    fn transport(&self) -> RequestTransport {
        RequestTransport::Disk
    }

    fn source(&self) -> Source {
        self.source
    }

    fn operation(&self) -> Option<&Operation> {
        Some(&self.operation)
    }

    fn try_publish<'a>(&'a self, _: &'a Publication) -> BoxFuture<'a, ()> {
        future::ready(()).boxed()
    }

    /// The end of the operation was reported. If the disk does not store that, the next agent reports the
    /// same again.
    fn acknowledge(&self) -> BoxFuture<'_, bool> {
        let noting = async {
            let noted = self.operation.reported().await;
            if let Err(error) = &noted {
                let operation = self.operation.id().as_str();
                warn!(%error, operation, "The report of an operation's end can't be recorded.");
            }
            noted.is_ok()
        };
        noting.boxed()
    }

    fn requeue(&self, _: Responder) -> BoxFuture<'_, ()> {
        debug!(operation = self.operation.id().as_str(), "An operation waits for the next agent.");
        future::ready(()).boxed()
    }
}
