//! The disk as the origin of a command: it has an operation.

use std::sync::Arc;

use futures_util::{FutureExt, future, future::BoxFuture};
use tracing::{debug, warn};

use super::{
    answer::{Publication, ReplyEncoder, Responder},
    source::{Replies, RequestSource, RequestTransport, Undeliverable},
};
use crate::{audit::Source, operations::Operation};

/// Nobody's: without a broker nobody is told.
static NO_PEN: ReplyEncoder = ReplyEncoder { guest_id: String::new(), cipher: None };

/// An operation.
#[derive(Debug)]
pub(super) struct OnDisk {
    pub(super) operation: Operation,
    /// For the word of its end. `None` without a broker.
    pub(super) bus: Option<Arc<dyn Replies>>,
    /// Who gave its command.
    pub(super) source: Source,
}

impl Replies for OnDisk {
    fn encoder(&self) -> &ReplyEncoder {
        self.bus.as_ref().map_or(&NO_PEN, |bus| bus.encoder())
    }

    fn publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, Result<(), Undeliverable>> {
        self.bus.as_ref().map_or_else(|| future::ready(Ok(())).boxed(), |bus| bus.publish(publication))
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

    /// The end of an operation was told. Should the disk not take that, the next agent tells it again, in the same words.
    fn acknowledge(&self) -> BoxFuture<'_, bool> {
        let noting = async {
            let noted = self.operation.told().await;
            if let Err(error) = &noted {
                let operation = self.operation.id().as_str();
                warn!(%error, operation, "That the end of an operation was told can't be written down.");
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
