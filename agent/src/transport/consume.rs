//! What happens to one message: decode, refuse or run, answer, acknowledge. One path, whichever way it came.
//!
//! The order is the promise (oslo.messaging acknowledges first and loses commands):
//!
//! ```text
//! decode -> known? -> turn -> run -> audited -> answer confirmed by the broker -> written down -> acknowledge
//!                                                                                          -> next turn
//! ```
//!
//! The agent may die between any two arrows; the broker then delivers again, and every command may be run
//! again. What can't be decoded is answered if it was a call, and acknowledged: it would not get better.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::FutureExt;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, debug, error, warn};
use trove_couchdb_protocol::{
    Context, DecodeError, Failure, FailureClass, Outcome, Undecodable, new_id, trove::Method,
};

use super::{
    accept::{Accepted, accept, with_beats},
    answer::Responder,
    compression,
    dedupe::{Answer, Repeat, Seen, Sighting, Summary, Ticket, undelivered},
    ledger::{Entry, Ledger},
    origin::{Arrival, Origin, Way, stopping},
    outlet::Undeliverable,
    replay::{Judgement, Marks, Receipts, UnderWay},
};
use crate::{
    audit::Verdict,
    config::RpcSettings,
    dispatch::{Changes, Dispatcher, Done, Turn},
    log, trace,
};

/// Takes messages, whichever way they come.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) seen: Seen,
    pub(super) receipts: Receipts,
    pub(super) ledger: Ledger,
    pub(super) limits: RpcSettings,
    /// All that is under way; awaited before the agent ends.
    pub(super) tasks: TaskTracker,
}

/// A request on its way through the dispatcher.
struct Running {
    accepted: Accepted,
    turn: Turn,
    ticket: Ticket,
    /// What is to be known of it once it was carried out.
    under_way: Option<UnderWay>,
}

impl Intake {
    /// Returns when nothing is under way any more. To be called when nothing new is taken.
    pub(super) async fn finish_tasks(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Takes one message. Call it in the order of arrival; returns before anything is awaited.
    pub(super) fn take(&self, arrival: Arrival) {
        let origin = arrival.origin.clone();
        if catch_unwind(AssertUnwindSafe(|| self.sort(arrival))).is_err() {
            error!("A message brought about a panic when it was read; it is dropped.");
            self.tasks.spawn(async move { origin.give_up().await });
        }
    }

    fn sort(&self, arrival: Arrival) {
        let Arrival { body, compression, redelivered, caller_waits, origin } = arrival;
        if redelivered {
            self.ledger.metrics.redelivered();
        }
        let cipher = origin.pen().cipher.as_ref();
        let max_bytes = self.limits.max_message_bytes;
        let mut request = match compression::decode(body, compression.as_ref(), cipher, max_bytes) {
            Ok(request) => request,
            Err(undecodable) => {
                let Undecodable { reply, unique_id, method, context, error } = *undecodable;
                // With a key, a context that fits may be a recorded one beside somebody's junk: nothing is told in its name.
                let context = context.filter(|_| origin.pen().cipher.is_none()).unwrap_or_default();
                let _about = log::command_span(context.request_id()).entered();
                match &error {
                    DecodeError::Compression(_) => {
                        error!(reason = %error, "A message is compressed as the agent reads none; correct kombu_compression.");
                    }
                    _ => {
                        warn!(kind = error.kind(), reason = %error, "A message is not a request that can be read.");
                    }
                }
                let responder = match &unique_id {
                    Some(id) => Responder::to(id, reply, context.clone()),
                    None => Responder::new(reply, context.clone()),
                };
                let entry = Entry::unread(&origin, &context, unique_id, method, redelivered);
                self.refuse(None, None, responder, Failure::from(&error), origin, entry);
                return;
            }
        };
        let _about = log::command_span(request.context.request_id()).entered();
        // Without an id nothing can be told apart; oslo.messaging always sends one.
        let id = request.unique_id.clone().unwrap_or_else(new_id);
        let method = Method::from_name(&request.method);
        let mut entry = Entry::unread(&origin, &request.context, Some(id.clone()), method, redelivered);
        // The context is as long as the rest of a request: it is moved, as nobody else needs it.
        let responder = Responder::to(&id, request.reply.clone(), std::mem::take(&mut request.context));
        // The kernel vouches for who is on the socket; on the bus anybody may send what he has seen there.
        let mut under_way = None;
        if origin.way() == Way::Bus {
            match self.receipts.judge(Marks::of(&request, &id)) {
                Judgement::Fresh(fresh) => under_way = Some(fresh),
                Judgement::Known => {
                    debug!(id, "A message came again that was carried out and answered.");
                    self.ledger.came_again();
                    self.spawn(origin.clone(), async move { origin.acknowledge().await });
                    return;
                }
                Judgement::Forged => {
                    warn!(id, method = request.method, "A message has parts of another one; it is not run.");
                    let nobody = Responder::new(None, Context::default());
                    self.refuse(None, None, nobody, replayed(), origin, entry);
                    return;
                }
            }
        }
        let accepted = accept(request, id.clone(), origin.way(), redelivered, caller_waits, &self.limits);
        // A repeat takes its turn like any other, so that commands are acknowledged in their order.
        let planned = accepted.map(|accepted| {
            let command = &accepted.job.command;
            let changes = Changes::of(command);
            if changes.is_some() {
                under_way = under_way.take().map(UnderWay::lasting);
            }
            entry.names(changes);
            let turn = self.dispatcher.enqueue(command);
            (accepted, turn)
        });
        let under_way = under_way.filter(UnderWay::matters);
        match (self.seen.sight(&id), planned) {
            (Sighting::Repeated(repeat), planned) => {
                debug!(id, "A message came again.");
                self.ledger.came_again();
                let turn = planned.ok().map(|(_, turn)| turn);
                self.spawn(origin.clone(), self.clone().repeated(repeat, responder, turn, origin));
            }
            (Sighting::First(ticket), Ok((accepted, turn))) => {
                let span = entry.span();
                let command = Running { accepted, turn, ticket, under_way };
                let run = self.clone().run(command, responder, origin.clone(), entry).instrument(span);
                self.spawn(origin, run);
            }
            (Sighting::First(ticket), Err(failure)) => {
                self.refuse(Some(ticket), under_way, responder, failure, origin, entry);
            }
        }
    }

    fn refuse(
        &self,
        ticket: Option<Ticket>,
        under_way: Option<UnderWay>,
        responder: Responder,
        failure: Failure,
        origin: Origin,
        entry: Entry,
    ) {
        // With a key, whoever can't encrypt a whole message can't end the creation of an instance either.
        let credible = ticket.is_some() || origin.pen().cipher.is_none();
        let outcome = Outcome::Failure(failure.clone());
        let publications = responder.answer(&outcome, origin.pen());
        let answer = match ticket {
            Some(ticket) => ticket.finish(publications, origin.way(), Summary::of(&outcome)),
            None => undelivered(publications),
        };
        let lost_prepare = entry.prepare_id().filter(|_| credible);
        let this = self.clone();
        let (span, refused) = (entry.span(), origin.clone());
        let refuse = async move {
            if let Some(id) = lost_prepare {
                this.dispatcher.prepare_is_lost(&id, &failure.message).await;
            }
            this.ledger.close(entry, Verdict::Refused(failure)).await;
            if credible {
                this.deliver(answer, &refused, under_way.as_ref()).instrument(trace::answer()).await;
            } else {
                refused.dismiss(answer.lock().await.as_deref().unwrap_or_default()).await;
            }
        };
        self.spawn(origin, refuse.instrument(span));
    }

    /// Nothing that a message brings about may leave it unacknowledged for ever, a panic included: it would take
    /// one place of the prefetch after the other.
    fn spawn(&self, origin: Origin, task: impl Future<Output = ()> + Send + 'static) {
        let guarded = async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                error!("A message brought about a panic; it is dropped.");
                origin.give_up().await;
            }
        };
        self.tasks.spawn(guarded.instrument(Span::current()));
    }

    async fn run(self, command: Running, responder: Responder, origin: Origin, entry: Entry) {
        let Running { accepted: Accepted { job, beat }, mut turn, ticket, under_way } = command;
        let run = self.dispatcher.run(&mut turn, &job).boxed();
        let done = match beat {
            Some(every) => with_beats(run, every, &responder, &origin).await,
            None => run.await,
        };
        let (outcome, verdict) = match done {
            Done::Answer(Outcome::Success(value)) => (Outcome::Success(value), Verdict::Ok),
            Done::Answer(Outcome::Failure(failure)) => {
                (Outcome::Failure(failure.clone()), Verdict::Failed(failure))
            }
            Done::Refused(failure) => (Outcome::Failure(failure.clone()), Verdict::Refused(failure)),
            Done::HandBack => {
                drop(ticket);
                if origin.way() == Way::Local {
                    self.ledger.close(entry, Verdict::Refused(stopping())).await;
                }
                origin.hand_back(responder).await;
                return;
            }
        };
        self.ledger.close(entry, verdict).await;
        let summary = Summary::of(&outcome);
        let answer = ticket.finish(responder.answer(&outcome, origin.pen()), origin.way(), summary);
        // It takes several times the memory of the answer, which may wait for the broker.
        drop(outcome);
        let delivering = self.deliver(answer, &origin, under_way.as_ref()).instrument(trace::answer());
        tokio::pin!(delivering);
        // Only when it is acknowledged may the next command on the same thing run: see dispatch/order.rs. Once its
        // connection is gone it can't be, and neither can any later command that came over that connection: they all
        // come again, in their order. So what comes over the local socket need not wait for the broker.
        tokio::select! {
            biased;
            () = &mut delivering => {}
            () = origin.is_lost() => {
                drop(turn);
                delivering.await;
            }
        }
    }

    async fn repeated(self, repeat: Repeat, responder: Responder, mut turn: Option<Turn>, origin: Origin) {
        let finished = repeat.finished().await;
        if let Some(turn) = &mut turn {
            turn.come().await;
        }
        match finished {
            // One message that the bus delivered twice: answered by whoever gets through first.
            Some(finished) if finished.way == Way::Bus && origin.way() == Way::Bus => {
                self.deliver(finished.answer, &origin, None).await;
            }
            // Who sent it this time waits elsewhere than who sent it first.
            Some(finished) => {
                let publications = responder.answer(&finished.summary.into(), origin.pen());
                self.deliver(undelivered(publications), &origin, None).await;
            }
            None => origin.hand_back(responder).await,
        }
        drop(turn);
    }

    /// Publishes an answer that nobody has published yet, writes down that the command was carried out, then
    /// acknowledges it.
    async fn deliver(&self, answer: Answer, origin: &Origin, under_way: Option<&UnderWay>) {
        let mut undelivered = answer.lock().await;
        for publication in undelivered.iter().flatten() {
            match origin.publish(publication).await {
                Ok(()) => {}
                Err(Undeliverable::QueueName) => warn!("A caller named a reply queue that can't exist."),
                Err(Undeliverable::Stopping) => {
                    debug!("An answer stays behind; its command is delivered again to the next agent.");
                    return;
                }
            }
        }
        *undelivered = None;
        if let Some(under_way) = under_way {
            under_way.record().await;
        }
        // Not before: a second delivery waits for this, and would be acknowledged although the disk knows nothing yet.
        drop(undelivered);
        origin.acknowledge().await;
    }
}

fn replayed() -> Failure {
    Failure::new(FailureClass::Replayed, "parts of this message were in another one before; it is not run")
}
