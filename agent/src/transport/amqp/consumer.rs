//! Takes messages from the guest's queues: as the broker hands them out, or one by one while some may have waited there.
//!
//! ```text
//!              all queues are empty
//!   catch up ------------------------> consume
//!   (basic.get)                        (basic.consume)
//!       ^                                 |
//!       +---------------------------------+
//!         the process was stopped, or the broker has handed out as much as it may
//! ```
//!
//! A call's message has a time to live, after which its caller has given up; the broker drops it then, as long as it has not
//! handed it out. No message tells when it was sent. So while messages may have waited in the broker, a call is taken only
//! if it can begin at once, and is else left to the broker's clock. Once there is no backlog, a message is as old as
//! its time here.

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

use super::source_ref::{Age, Bus, HandedOut, arrival, caller_waits};
use crate::{
    system::BootInstant,
    transport::rpc::{RequestPipeline, Taken},
};

/// How long a broker that is still there takes to cancel a consumer.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);

/// How often the loop notes that it is running.
const TICK: Duration = Duration::from_secs(1);

/// A loop that is late by more than this was stopped meanwhile: by SIGSTOP, in a frozen container, on a suspended machine.
const LATE: Duration = Duration::from_millis(250);

/// A delivery, an error of the channel, or the end of one consumer.
type Item = Option<Result<Delivery, lapin::Error>>;

/// Why messages are not taken any longer as the broker hands them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backlog {
    /// The broker has handed out as much as it may, and keeps the rest.
    PrefetchUsedUp,
    /// The process was stopped, and what it had been handed out waited.
    Stopped,
}

/// The side of a connection that takes messages.
pub(super) struct Consumer {
    channel: Channel,
    /// Each with how many messages its consumer may be handed out.
    queues: Vec<(String, u16)>,
    /// As many under way as the first queue's consumer may be handed out: the broker may keep others.
    prefetch: usize,
    handed_out: HandedOut,
    /// Of the consumers that there are.
    tags: Vec<String>,
    deliveries: SelectAll<BoxStream<'static, Item>>,
}

impl Consumer {
    /// Takes nothing yet.
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

    /// Takes messages until that is not possible any more; answers why.
    pub(super) async fn run(&mut self, pipeline: &RequestPipeline, bus: &Arc<Bus>) -> String {
        loop {
            let round = async {
                self.catch_up(pipeline, bus).await.map_err(|error| error.to_string())?;
                pipeline.caught_up();
                self.consume().await.map_err(|error| error.to_string())?;
                self.take_all(pipeline, bus).await.map_err(|error| error.to_string())
            };
            match round.await {
                Ok(Ok(backlog)) => {
                    debug!(?backlog, "Messages may have waited in the broker; taking them one by one.");
                }
                Ok(Err(reason)) | Err(reason) => return reason,
            }
        }
    }

    /// Takes what is in the queues, until there is nothing left.
    async fn catch_up(&mut self, pipeline: &RequestPipeline, bus: &Arc<Bus>) -> Result<(), lapin::Error> {
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
                    let arrival = arrival(got.delivery, bus, &self.handed_out, Age::Unknown);
                    if let Taken::NotNow(not_now) = pipeline.take(arrival) {
                        not_now.leave().await;
                    }
                }
            }
            if taken == before {
                return Ok(());
            }
        }
    }

    /// Has the broker hand messages out.
    async fn consume(&mut self) -> Result<(), TopologyError> {
        self.deliveries = SelectAll::new();
        for (number, (queue, share)) in self.queues.iter().enumerate() {
            let tag = (number + 1).to_string();
            let consumer = async {
                let (name, tag_name) = (broker::short(queue)?, broker::short(&tag)?);
                // Counts for the consumers that are made after it, each by itself.
                self.channel.basic_qos(*share, BasicQosOptions::default()).await?;
                let options = BasicConsumeOptions::default();
                self.channel.basic_consume(name, tag_name, options, FieldTable::default()).await
            };
            let consumer = consumer.await.map_err(TopologyError::consuming(queue))?;
            // SelectAll would drop a stream that ends without a word.
            let with_end = consumer.map(Some).chain(stream::once(async { None }.boxed()));
            self.deliveries.push(with_end.boxed());
            self.tags.push(tag);
        }
        Ok(())
    }

    /// Takes messages as the broker hands them out, until some may have waited there; then gives back those that have
    /// waited here. The inner error is the reason why no more can come.
    async fn take_all(
        &mut self,
        pipeline: &RequestPipeline,
        bus: &Arc<Bus>,
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
                // would be to be deaf and look healthy.
                Some(Some(None) | None) => return Ok(Err("the broker cancelled a consumer".to_owned())),
                Some(Some(Some(Err(error)))) => return Err(error),
                Some(Some(Some(Ok(delivery)))) if stopped => {
                    take_or_leave(delivery, pipeline, bus, &self.handed_out).await;
                }
                Some(Some(Some(Ok(delivery)))) => {
                    pipeline.take(arrival(delivery, bus, &self.handed_out, Age::New));
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
        // What was under way before the consumers were cancelled has come before their end.
        while !self.deliveries.is_empty() {
            match self.deliveries.next().await {
                Some(Some(Ok(delivery))) if backlog == Backlog::Stopped => {
                    take_or_leave(delivery, pipeline, bus, &self.handed_out).await;
                }
                Some(Some(Ok(delivery))) => {
                    pipeline.take(arrival(delivery, bus, &self.handed_out, Age::New));
                }
                Some(Some(Err(error))) => return Err(error),
                Some(None) | None => {}
            }
        }
        Ok(Ok(backlog))
    }

    /// Asks the broker for no more deliveries.
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

/// A message that has waited here: whether a call's caller still waits is left to the broker's clock. Casts are taken, as
/// nobody waits for them, and keep their order.
async fn take_or_leave(
    delivery: Delivery,
    pipeline: &RequestPipeline,
    bus: &Arc<Bus>,
    handed_out: &HandedOut,
) {
    let is_call = caller_waits(&delivery.properties).is_some();
    let arrival = arrival(delivery, bus, handed_out, Age::Unknown);
    if is_call {
        pipeline.leave(arrival).await;
    } else {
        pipeline.take(arrival);
    }
}
