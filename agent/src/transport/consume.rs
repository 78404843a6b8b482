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

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use lapin::{
    Acker, BasicProperties,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
};
use tokio::time;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};
use trove_couchdb_protocol::{Failure, Outcome, Request, Undecodable, new_id, trove::Command, version};

use super::{
    answer::{Pen, Responder},
    dedupe::{Answer, Repeat, Seen, Sighting, Ticket, undelivered},
    outlet::{Outlet, Undeliverable},
};
use crate::{
    config::RpcSettings,
    dispatch::{Dispatcher, Done, Job, Turn},
};

/// A caller that wants signs of life less often than this is as good as one that wants none.
const LONGEST_BEAT: u64 = 3600;

/// Takes deliveries, whatever connection they come from.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) pen: Arc<Pen>,
    pub(super) outlet: Outlet,
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
    pub(super) fn take(&self, delivery: Delivery) {
        let acker = delivery.acker.clone();
        if catch_unwind(AssertUnwindSafe(|| self.sort(delivery))).is_err() {
            error!("A message brought about a panic when it was read; it is dropped.");
            self.tasks.spawn(async move { acknowledge(&acker).await });
        }
    }

    fn sort(&self, delivery: Delivery) {
        let Delivery { data, redelivered, properties, acker, .. } = delivery;
        let request = match Request::decode(&data, self.pen.cipher.as_ref(), self.limits.max_message_bytes) {
            Ok(request) => request,
            Err(undecodable) => {
                let Undecodable { reply, context, error, .. } = *undecodable;
                warn!(kind = error.kind(), reason = %error, "A message is not a request that can be read.");
                let responder = Responder::new(reply, context.unwrap_or_default());
                self.refuse(None, responder, Failure::from(&error), acker);
                return;
            }
        };
        // Without an id nothing can be told apart; oslo.messaging always sends one.
        let id = request.unique_id.clone().unwrap_or_else(new_id);
        let responder = Responder::new(request.reply.clone(), request.context.clone());
        let accepted = accept(request, id.clone(), redelivered, &properties, &self.limits);
        // A repeat takes its turn like any other, so that commands are acknowledged in their order.
        let planned = accepted.map(|accepted| {
            let turn = self.dispatcher.enqueue(&accepted.job.command);
            (accepted, turn)
        });
        match (self.seen.sight(&id), planned) {
            (Sighting::Repeated(repeat), planned) => {
                debug!(id, "A message came again.");
                let turn = planned.ok().map(|(_, turn)| turn);
                self.spawn(acker.clone(), self.clone().repeated(repeat, turn, acker));
            }
            (Sighting::First(ticket), Ok((accepted, turn))) => {
                self.spawn(acker.clone(), self.clone().run(accepted, responder, turn, ticket, acker));
            }
            (Sighting::First(ticket), Err(failure)) => {
                self.refuse(Some(ticket), responder, failure, acker);
            }
        }
    }

    fn refuse(&self, ticket: Option<Ticket>, responder: Responder, failure: Failure, acker: Acker) {
        let publications = responder.answer(&Outcome::Failure(failure), &self.pen);
        let answer = match ticket {
            Some(ticket) => ticket.finish(publications),
            None => undelivered(publications),
        };
        self.spawn(acker.clone(), self.clone().deliver(answer, acker));
    }

    /// Nothing that a message brings about may leave it unacknowledged for ever, a panic included: it would take
    /// one place of the prefetch after the other.
    fn spawn(&self, acker: Acker, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                error!("A message brought about a panic; it is dropped.");
                acknowledge(&acker).await;
            }
        });
    }

    async fn run(
        self,
        accepted: Accepted,
        responder: Responder,
        mut turn: Turn,
        ticket: Ticket,
        acker: Acker,
    ) {
        let Accepted { job, beat } = accepted;
        let run = self.dispatcher.run(&mut turn, &job).boxed();
        let done = match beat {
            Some(every) => with_beats(run, every, &responder, &self.outlet).await,
            None => run.await,
        };
        match done {
            Done::Answer(outcome) => {
                let answer = ticket.finish(responder.answer(&outcome, &self.pen));
                self.deliver(answer, acker).await;
            }
            Done::HandBack => {
                drop(ticket);
                hand_back(&acker).await;
            }
        }
        // Only now may the next command on the same thing run: see dispatch/order.rs.
        drop(turn);
    }

    async fn repeated(self, repeat: Repeat, turn: Option<Turn>, acker: Acker) {
        let answer = repeat.answer().await;
        let mut turn = turn;
        if let Some(turn) = &mut turn {
            turn.come().await;
        }
        match answer {
            Some(answer) => self.deliver(answer, acker).await,
            None => hand_back(&acker).await,
        }
        drop(turn);
    }

    /// Publishes an answer that nobody has published yet, then acknowledges its command.
    async fn deliver(self, answer: Answer, acker: Acker) {
        let mut undelivered = answer.lock().await;
        for publication in undelivered.iter().flatten() {
            match self.outlet.publish(publication).await {
                Ok(()) => {}
                Err(Undeliverable::QueueName) => warn!("A caller named a reply queue that can't exist."),
                Err(Undeliverable::Stopping) => {
                    debug!("An answer stays behind; its command is delivered again to the next agent.");
                    return;
                }
            }
        }
        *undelivered = None;
        drop(undelivered);
        acknowledge(&acker).await;
    }
}

fn accept(
    request: Request,
    id: String,
    redelivered: bool,
    properties: &BasicProperties,
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
    let caller_waits = is_call.then(|| caller_waits(properties)).flatten();
    let patience = match (is_call, caller_waits) {
        (true, Some(waits)) => limits.call_patience.min(waits / 2),
        (true, None) => limits.call_patience,
        (false, _) if matches!(command, Command::Prepare(_)) => limits.prepare_patience,
        (false, _) => limits.cast_patience,
    };
    let job = Job { command, id, redelivered, arrived: Instant::now(), patience, caller_waits };
    // oslo.messaging beats twice in the time after which the caller gives up (`rpc/server.py`,
    // `_process_incoming`).
    let timeout = request.timeout.filter(|seconds| is_call && *seconds >= 2);
    let beat = timeout.map(|seconds| Duration::from_secs(seconds.min(LONGEST_BEAT)) / 2);
    Ok(Accepted { job, beat })
}

/// How long a caller waits stands in its message's time to live (ms). Nobody waits longer than a day.
fn caller_waits(properties: &BasicProperties) -> Option<Duration> {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let milliseconds: u64 = properties.expiration().as_ref()?.as_str().parse().ok()?;
    Some(Duration::from_millis(milliseconds.min(DAY)))
}

async fn with_beats(
    run: BoxFuture<'_, Done>,
    every: Duration,
    responder: &Responder,
    outlet: &Outlet,
) -> Done {
    let beats = async {
        let mut ticks = time::interval_at(time::Instant::now() + every, every);
        loop {
            ticks.tick().await;
            if let Some(beat) = responder.beat() {
                outlet.mention(&beat).await;
            }
        }
    };
    // Both go on side by side: a broker that holds a beat up must not hold the command up.
    tokio::select! {
        biased;
        done = run => done,
        never = beats => never,
    }
}

async fn acknowledge(acker: &Acker) {
    if let Err(error) = acker.ack(BasicAckOptions::default()).await {
        debug!(%error, "A command could not be acknowledged; it will come again and be known.");
    }
}

async fn hand_back(acker: &Acker) {
    if let Err(error) = acker.nack(BasicNackOptions { requeue: true, multiple: false }).await {
        debug!(%error, "A command could not be handed back; the broker requeues it by itself.");
    }
}
