//! The broker as the source of a message: publishes its answer and acknowledges it.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use lapin::{
    Acker, BasicProperties,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
};
use tokio::{sync::watch, time};
use tracing::{debug, warn};

use super::{compression, publisher::ReplyPublisher};
use crate::{
    audit::Source,
    transport::rpc::{
        IncomingMessage, Publication, Replies, ReplyEncoder, RequestSource, RequestTransport, Responder,
        Undeliverable,
    },
};

/// Whether a message may have waited in the broker before it was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// The broker delivered it as soon as it arrived.
    New,
    /// It may have waited.
    Unknown,
}

/// How long writing an acknowledgement to the socket may take. A dead connection may never write it, and a
/// task that waits forever would hold its lock forever.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

/// How long requeueing may take. Closing the connection requeues as well, and a stopping agent must not spend
/// its grace period on this.
const HANDED_BACK_WITHIN: Duration = Duration::from_secs(2);

/// A message from the broker, which waits for its acknowledgement.
#[derive(Debug)]
struct BrokerMessage {
    replies: Arc<BrokerReplies>,
    acker: Acker,
    _slot: PrefetchSlot,
}

/// Counts one delivered, unacknowledged message of a connection.
#[derive(Debug)]
struct PrefetchSlot(watch::Sender<usize>);

/// The number of these messages.
#[derive(Debug, Default)]
pub(super) struct HandedOut(watch::Sender<usize>);

impl HandedOut {
    pub(super) fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Returns when there are fewer than `most`.
    pub(super) async fn fewer_than(&self, most: usize) {
        let mut count = self.0.subscribe();
        // This cannot fail: `self` holds the sender.
        let _fewer = count.wait_for(|count| *count < most).await;
    }

    fn take(&self) -> PrefetchSlot {
        self.0.send_modify(|count| *count += 1);
        PrefetchSlot(self.0.clone())
    }
}

impl Drop for PrefetchSlot {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Encodes and publishes replies over the broker.
#[derive(Debug)]
pub(super) struct BrokerReplies {
    pub(super) encoder: ReplyEncoder,
    pub(super) publisher: ReplyPublisher,
}

/// Converts a delivery to a message for the pipeline.
pub(super) fn incoming(
    delivery: Delivery,
    replies: &Arc<BrokerReplies>,
    handed_out: &HandedOut,
    age: Age,
) -> IncomingMessage {
    let Delivery { data, redelivered, properties, acker, .. } = delivery;
    let caller_timeout = caller_timeout(&properties);
    IncomingMessage {
        body: data,
        compression: compression::of(&properties),
        redelivered,
        caller_timeout,
        at_once_or_not: age == Age::Unknown && caller_timeout.is_some(),
        source_ref: Arc::new(BrokerMessage { replies: Arc::clone(replies), acker, _slot: handed_out.take() }),
    }
}

/// How long the caller waits: its message's time to live (ms), at most a day.
pub(super) fn caller_timeout(properties: &BasicProperties) -> Option<Duration> {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let milliseconds: u64 = properties.expiration().as_ref()?.as_str().parse().ok()?;
    Some(Duration::from_millis(milliseconds.min(DAY)))
}

impl Replies for BrokerReplies {
    fn encoder(&self) -> &ReplyEncoder {
        &self.encoder
    }

    fn publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, Result<(), Undeliverable>> {
        async {
            self.publisher.publish(publication).await?;
            self.publisher.publish_later(publication);
            Ok(())
        }
        .boxed()
    }
}

impl Replies for BrokerMessage {
    fn encoder(&self) -> &ReplyEncoder {
        self.replies.encoder()
    }

    fn publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, Result<(), Undeliverable>> {
        self.replies.publish(publication)
    }
}

impl RequestSource for BrokerMessage {
    fn transport(&self) -> RequestTransport {
        RequestTransport::Broker
    }

    fn source(&self) -> Source {
        Source::Broker
    }

    fn try_publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, ()> {
        async {
            let _taken = self.replies.publisher.try_publish(publication).await;
        }
        .boxed()
    }

    fn acknowledge(&self) -> BoxFuture<'_, bool> {
        let acknowledging = async {
            let acknowledged = time::timeout(ACKNOWLEDGED_WITHIN, self.acker.ack(BasicAckOptions::default()));
            let acknowledged = tokio::select! {
                acknowledged = acknowledged => acknowledged,
                () = self.replies.publisher.stopping_while_blocked() => return false,
            };
            match acknowledged {
                Ok(Ok(_sent)) => return true,
                Ok(Err(error)) => {
                    debug!(%error, "A command could not be acknowledged; it will come again and be known.");
                }
                Err(_) => {
                    warn!("A command's acknowledgement is stuck; if it was lost, the command is known.");
                }
            }
            false
        };
        acknowledging.boxed()
    }

    /// The broker keeps the message for the next agent.
    fn requeue(&self, _: Responder) -> BoxFuture<'_, ()> {
        let requeuing = async {
            let handing_back = self.acker.nack(BasicNackOptions { requeue: true, multiple: false });
            match time::timeout(HANDED_BACK_WITHIN, handing_back).await {
                Ok(Ok(_sent)) => {}
                Ok(Err(error)) => {
                    debug!(%error, "A command could not be handed back; the broker requeues it by itself.");
                }
                Err(_) => debug!("Handing a command back is stuck; the broker requeues it by itself."),
            }
        };
        requeuing.boxed()
    }
}
