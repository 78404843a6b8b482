//! Takes messages from the guest's queues: pushed by the broker, or one by one while messages may have waited
//! there.
//!
//! ```text
//!              all queues are empty
//!   catch up ------------------------> consume
//!   (basic.get)                        (basic.consume)
//!       ^                                 |
//!       +---------------------------------+
//!         the process was suspended, or the prefetch is used up
//! ```
//!
//! A call's message has a time to live. When it expires, the caller has given up, and the broker drops the
//! message unless it has already delivered it. Messages carry no send time. So while messages may have waited
//! in the broker, the agent takes a call only if it can begin at once. Otherwise it leaves the call in the
//! broker, where the time to live runs on. Without a backlog, a message is as old as its time in this
//! process.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::join_all,
    stream::{self, BoxStream, SelectAll},
};
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::time;
use tracing::{debug, info, warn};
use trove_couchdb_guest::broker::{self, TopologyError};

use super::source_ref::{Age, BrokerReplies, HandedOut, caller_timeout, incoming};
use crate::{
    system::BootInstant,
    transport::rpc::{RequestPipeline, Taken},
};

/// How long to wait for the broker to cancel a consumer.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);

/// How often the loop records that it is running.
const TICK: Duration = Duration::from_secs(1);

/// If the loop is late by more than this, the process was suspended: by SIGSTOP, in a frozen container or on
/// a suspended machine.
const LATE: Duration = Duration::from_millis(250);

/// A delivery, a channel error, or the end of one consumer.
type Item = Option<Result<Delivery, lapin::Error>>;

/// Why the agent stops consuming and takes messages one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backlog {
    /// The broker has delivered as many messages as the prefetch allows, and keeps the rest.
    PrefetchUsedUp,
    /// The process was suspended, and the messages it had received waited.
    Stopped,
}

/// The consuming side of a connection.
pub(super) struct Consumer {
    channel: Channel,
    /// The queues, each with the prefetch count of its consumer.
    queues: Vec<(String, u16)>,
    /// The prefetch count of the first queue. With this many messages in flight, the broker may be keeping
    /// others.
    prefetch: usize,
    handed_out: HandedOut,
    /// The tags of the active consumers.
    tags: Vec<String>,
    deliveries: SelectAll<BoxStream<'static, Item>>,
}

impl Consumer {
    /// Does not consume yet.
    pub(super) fn new(channel: Channel, queues: Vec<(&str, u16)>) -> Self {
        let prefetch = queues.first().map_or(1, |(_, share)| usize::from(*share));
        let queues = queues.into_iter().map(|(name, share)| (name.to_owned(), share)).collect();
        let (handed_out, deliveries) = (HandedOut::default(), SelectAll::new());
        Self { channel, queues, prefetch, handed_out, tags: Vec::new(), deliveries }
    }

    /// Whether the channel is open.
    pub(super) fn is_open(&self) -> impl Fn() -> bool + use<> {
        let channel = self.channel.clone();
        move || channel.status().connected()
    }

    /// Takes messages until that is no longer possible; returns the reason.
    pub(super) async fn run(&mut self, pipeline: &RequestPipeline, replies: &Arc<BrokerReplies>) -> String {
        loop {
            let round = async {
                self.catch_up(pipeline, replies).await.map_err(|error| error.to_string())?;
                pipeline.caught_up();
                self.consume().await.map_err(|error| error.to_string())?;
                self.take_all(pipeline, replies).await.map_err(|error| error.to_string())
            };
            match round.await {
                Ok(Ok(backlog)) => {
                    debug!(?backlog, "Messages may have waited in the broker; taking them one by one.");
                }
                Ok(Err(reason)) | Err(reason) => return reason,
            }
        }
    }

    /// Takes messages one by one until all queues are empty.
    async fn catch_up(
        &mut self,
        pipeline: &RequestPipeline,
        replies: &Arc<BrokerReplies>,
    ) -> Result<(), lapin::Error> {
        let mut taken = 0_u64;
        loop {
            let before = taken;
            for (queue, _) in &self.queues {
                let name = broker::short(queue)?;
                loop {
                    self.handed_out.fewer_than(self.prefetch).await;
                    let got = self.channel.basic_get(name.clone(), BasicGetOptions::default()).await?;
                    let Some(got) = got else { break };
                    taken += 1;
                    let incoming = incoming(got.delivery, replies, &self.handed_out, Age::Unknown);
                    if let Taken::NotNow(not_now) = pipeline.take(incoming) {
                        not_now.leave().await;
                    }
                }
            }
            if taken == before {
                return Ok(());
            }
        }
    }

    /// Starts consuming.
    async fn consume(&mut self) -> Result<(), TopologyError> {
        self.deliveries = SelectAll::new();
        for (number, (queue, share)) in self.queues.iter().enumerate() {
            let tag = (number + 1).to_string();
            let consumer = async {
                let (name, tag_name) = (broker::short(queue)?, broker::short(&tag)?);
                // Applies separately to each consumer created after this call.
                self.channel.basic_qos(*share, BasicQosOptions::default()).await?;
                let options = BasicConsumeOptions::default();
                self.channel.basic_consume(name, tag_name, options, FieldTable::default()).await
            };
            let consumer = consumer.await.map_err(TopologyError::consuming(queue))?;
            // `SelectAll` drops a stream that ends, so each stream reports its end with `None`.
            let with_end = consumer.map(Some).chain(stream::once(async { None }.boxed()));
            self.deliveries.push(with_end.boxed());
            self.tags.push(tag);
        }
        Ok(())
    }

    /// Takes messages as the broker delivers them, until messages may have waited. Calls that waited in this
    /// process then go back to the broker. The inner error says why no more messages can arrive.
    async fn take_all(
        &mut self,
        pipeline: &RequestPipeline,
        replies: &Arc<BrokerReplies>,
    ) -> Result<Result<Backlog, String>, lapin::Error> {
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut running = BootInstant::now();
        let backlog = loop {
            let item = tokio::select! {
                item = self.deliveries.next() => Some(item),
                _ = ticks.tick() => None,
            };
            let stopped = running.elapsed() > TICK + LATE;
            running = BootInstant::now();
            match item {
                // Also when only one queue was deleted, or moved to another node of the cluster: to go on without it
                // would look healthy while nothing arrives from it.
                Some(Some(None) | None) => return Ok(Err("the broker cancelled a consumer".to_owned())),
                Some(Some(Some(Err(error)))) => return Err(error),
                Some(Some(Some(Ok(delivery)))) if stopped => {
                    take_or_leave(delivery, pipeline, replies, &self.handed_out).await;
                }
                Some(Some(Some(Ok(delivery)))) => {
                    pipeline.take(incoming(delivery, replies, &self.handed_out, Age::New));
                }
                None => {}
            }
            if stopped {
                info!(
                    "The process was stopped for a while; calls that waited meanwhile go back to the broker."
                );
                break Backlog::Stopped;
            }
            if self.handed_out.count() >= self.prefetch {
                break Backlog::PrefetchUsedUp;
            }
        };
        self.cancel().await;
        // Messages that were on their way when the consumers were cancelled arrive before the streams end.
        while !self.deliveries.is_empty() {
            match self.deliveries.next().await {
                Some(Some(Ok(delivery))) if backlog == Backlog::Stopped => {
                    take_or_leave(delivery, pipeline, replies, &self.handed_out).await;
                }
                Some(Some(Ok(delivery))) => {
                    pipeline.take(incoming(delivery, replies, &self.handed_out, Age::New));
                }
                Some(Some(Err(error))) => return Err(error),
                Some(None) | None => {}
            }
        }
        Ok(Ok(backlog))
    }

    /// Asks the broker to stop delivering.
    pub(super) async fn cancel(&mut self) {
        let tags = std::mem::take(&mut self.tags);
        let cancels = tags.iter().filter_map(|tag| broker::short(tag).ok()).map(|tag| {
            let cancelling = self.channel.basic_cancel(tag, BasicCancelOptions::default());
            time::timeout(CANCEL_LIMIT, cancelling)
        });
        for cancelled in join_all(cancels).await {
            if !matches!(cancelled, Ok(Ok(()))) {
                warn!("A consumer could not be cancelled; closing the connection does it.");
            }
        }
    }
}

/// Handles a message that waited in this process. A call goes back to the broker, which drops it if it has
/// expired. A cast is taken: no caller waits for it, and it keeps its place in the order.
async fn take_or_leave(
    delivery: Delivery,
    pipeline: &RequestPipeline,
    replies: &Arc<BrokerReplies>,
    handed_out: &HandedOut,
) {
    let is_call = caller_timeout(&delivery.properties).is_some();
    let incoming = incoming(delivery, replies, handed_out, Age::Unknown);
    if is_call {
        pipeline.leave(incoming).await;
    } else {
        pipeline.take(incoming);
    }
}
