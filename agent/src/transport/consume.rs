//! What happens to one delivery: decode, refuse or run, answer, acknowledge.
//!
//! The order is the promise (oslo.messaging acknowledges first and loses commands):
//!
//! ```text
//! decode -> known id? -> turn -> run -> answer confirmed by the broker -> acknowledge -> next turn
//! ```
//!
//! The agent may die between any two arrows; the broker then delivers again, and every command may be run
//! again. What can't be decoded is answered if it was a call, and acknowledged: it would not get better.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use lapin::{
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
};
use tokio::time;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};
use trove_couchdb_protocol::{
    Context, Failure, Outcome, Request, Undecodable, new_id, trove::Command, version,
};

use super::{
    answer::{Pen, Publication, Responder},
    dedupe::{Answer, Repeat, Seen, Sighting, Ticket},
    publish::{PublishError, Publisher},
};
use crate::{
    config::RpcSettings,
    dispatch::{Dispatcher, Done, Job, Turn},
};

/// Takes deliveries, whatever connection they come from.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) pen: Arc<Pen>,
    pub(super) seen: Seen,
    pub(super) limits: RpcSettings,
    /// All that is under way; awaited before the agent ends.
    pub(super) tasks: TaskTracker,
}

/// A request that can run.
struct Accepted {
    job: Job,
    /// How often the caller wants a sign of life.
    beat: Option<Duration>,
}

impl Intake {
    /// Takes one delivery. Call it in the order of arrival; returns before anything is awaited.
    pub(super) fn take(&self, delivery: Delivery, publisher: &Publisher) {
        let publisher = publisher.clone();
        let cipher = self.pen.cipher.as_ref();
        let request = match Request::decode(&delivery.data, cipher, self.limits.max_message_bytes) {
            Ok(request) => request,
            Err(Undecodable { reply, error, .. }) => {
                warn!(kind = error.kind(), reason = %error, "A message is not a request that can be read.");
                let responder = Responder::new(reply, Context::default());
                let failure = Failure::new("InvalidRequest", error.to_string());
                let answer = responder.answer(&Outcome::Failure(failure), &self.pen);
                self.tasks.spawn(refuse(answer, delivery, publisher));
                return;
            }
        };
        // Without an id nothing can be told apart; oslo.messaging always sends one.
        let id = request.unique_id.clone().unwrap_or_else(new_id);
        let ticket = match self.seen.sight(&id) {
            Sighting::First(ticket) => ticket,
            Sighting::Repeated(repeat) => {
                debug!(id, "A message came again.");
                self.tasks.spawn(repeated(repeat, delivery, publisher));
                return;
            }
        };
        let responder = Responder::new(request.reply.clone(), request.context.clone());
        match accept(request, id, &delivery, &self.limits) {
            Ok(accepted) => {
                let turn = self.dispatcher.enqueue(&accepted.job.command);
                let running =
                    Running { dispatcher: Arc::clone(&self.dispatcher), pen: Arc::clone(&self.pen) };
                self.tasks.spawn(running.finish(accepted, responder, turn, ticket, delivery, publisher));
            }
            Err(failure) => {
                let answer = ticket.finish(responder.answer(&Outcome::Failure(failure), &self.pen));
                self.tasks.spawn(async move { deliver(&answer, &delivery, &publisher).await });
            }
        }
    }
}

fn accept(
    request: Request,
    id: String,
    delivery: &Delivery,
    limits: &RpcSettings,
) -> Result<Accepted, Failure> {
    let is_call = request.reply.is_some();
    let method = request.method;
    if !version::SERVED.accepts(&request.version) || request.namespace.is_some() {
        return Err(Failure::unsupported_version(&request.version.to_string(), &method));
    }
    let command = match Command::decode(&method, &request.args) {
        Ok(command) => command,
        Err(error) => {
            warn!(method, id, kind = error.kind(), reason = %error, "A request is refused.");
            return Err(Failure::from(&error));
        }
    };
    let job = Job {
        command,
        id,
        redelivered: delivery.redelivered,
        patience: if is_call { call_patience(delivery, limits.call_patience) } else { limits.cast_patience },
    };
    // oslo.messaging beats twice in the time after which the caller gives up (`rpc/server.py`, `_process_incoming`).
    let beat = request.timeout.filter(|seconds| is_call && *seconds >= 2).map(Duration::from_secs);
    Ok(Accepted { job, beat: beat.map(|timeout| timeout / 2) })
}

/// At most half of what the caller waits, which stands in the message's time to live (ms).
fn call_patience(delivery: &Delivery, longest: Duration) -> Duration {
    let expiration = delivery.properties.expiration().as_ref();
    let waits = expiration.and_then(|text| text.as_str().parse().ok()).map(Duration::from_millis);
    waits.map_or(longest, |waits| longest.min(waits / 2))
}

struct Running {
    dispatcher: Arc<Dispatcher>,
    pen: Arc<Pen>,
}

impl Running {
    async fn finish(
        self,
        accepted: Accepted,
        responder: Responder,
        mut turn: Turn,
        ticket: Ticket,
        delivery: Delivery,
        publisher: Publisher,
    ) {
        let Accepted { job, beat } = accepted;
        let run = self.dispatcher.run(&mut turn, &job).boxed();
        let done = match beat {
            Some(every) => with_beats(run, every, &responder, &publisher).await,
            None => run.await,
        };
        match done {
            Done::Answer(outcome) => {
                let answer = ticket.finish(responder.answer(&outcome, &self.pen));
                deliver(&answer, &delivery, &publisher).await;
            }
            Done::HandBack => {
                drop(ticket);
                hand_back(&delivery).await;
            }
        }
        // Only now may the next command on the same thing run: see dispatch/order.rs.
        drop(turn);
    }
}

async fn with_beats(
    mut run: BoxFuture<'_, Done>,
    every: Duration,
    responder: &Responder,
    publisher: &Publisher,
) -> Done {
    let mut ticks = time::interval_at(time::Instant::now() + every, every);
    loop {
        tokio::select! {
            biased;
            done = &mut run => return done,
            _ = ticks.tick() => {
                if let Some(beat) = responder.beat()
                    && let Err(error) = publisher.publish(&beat).await
                {
                    debug!(%error, "A sign of life did not get through.");
                }
            }
        }
    }
}

async fn refuse(answer: Vec<Publication>, delivery: Delivery, publisher: Publisher) {
    for publication in &answer {
        if let Err(error) = publisher.publish(publication).await {
            return not_delivered(&error);
        }
    }
    acknowledge(&delivery).await;
}

async fn repeated(repeat: Repeat, delivery: Delivery, publisher: Publisher) {
    match repeat.answer().await {
        Some(answer) => deliver(&answer, &delivery, &publisher).await,
        None => hand_back(&delivery).await,
    }
}

/// Publishes an answer that nobody has published yet, then acknowledges its command.
///
/// With the connection gone both fail; the broker delivers the command again, and the next delivery of the
/// answer happens then.
async fn deliver(answer: &Answer, delivery: &Delivery, publisher: &Publisher) {
    let mut undelivered = answer.lock().await;
    if let Some(publications) = &*undelivered {
        for publication in publications {
            match publisher.publish(publication).await {
                Ok(()) => {}
                Err(PublishError::QueueName) => warn!("A caller named a reply queue that can't exist."),
                Err(error) => return not_delivered(&error),
            }
        }
        *undelivered = None;
    }
    drop(undelivered);
    acknowledge(delivery).await;
}

fn not_delivered(error: &PublishError) {
    debug!(%error, "An answer did not reach the broker; it goes out when the command comes again.");
}

async fn acknowledge(delivery: &Delivery) {
    if let Err(error) = delivery.ack(BasicAckOptions::default()).await {
        debug!(%error, "A command could not be acknowledged; it will come again and be known.");
    }
}

async fn hand_back(delivery: &Delivery) {
    if let Err(error) = delivery.nack(BasicNackOptions { requeue: true, multiple: false }).await {
        debug!(%error, "A command could not be handed back; the broker requeues it by itself.");
    }
}
