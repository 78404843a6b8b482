//! What happens to one message: decode, refuse or run, answer, acknowledge. One path, whichever way it came.
//!
//! The order is the promise (oslo.messaging acknowledges first and loses commands):
//!
//! ```text
//! decode -> known? -> turn -> run -> audited -> outcome on the disk -> next turn
//!                                                      |
//!                                                      +-> answer confirmed by the broker -> acknowledge
//! ```
//!
//! The agent may die between any two arrows; the broker then delivers again. Until the outcome is on the disk the command is
//! run again, as nothing on the same user or database has run since; from then on it is only answered again. What can't be
//! decoded is answered if it was a call, and acknowledged: it would not get better.

mod run;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, debug, error, warn};
use trove_couchdb_config::RpcSettings;
use trove_couchdb_protocol::{
    Context, DecodeError, Failure, FailureClass, Outcome, Request, Seal, Undecodable, new_id,
    trove::{Method, UserAction},
};

use super::{
    accept::{Accepted, accept},
    answer::Responder,
    compression,
    dedupe::{Seen, Sighting, Summary, Ticket, undelivered},
    ledger::{Entry, Ledger},
    origin::{Arrival, Origin, Way},
    outcomes::RecordedOutcome,
    replay::{Judgement, Marks, Receipts, UnderWay},
};
use crate::{
    audit::Verdict,
    commands::{self, Changes, Command, Seed},
    dispatch::{BehindHeld, Dispatcher, Turn},
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
    /// By which its outcome is known.
    mark: Option<Seal>,
    /// `None` for one that only reads.
    changes: Option<Changes>,
}

/// What became of a message that has arrived.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is taken care of.
    Yes,
    /// It can't begin at once, and is to be left where it came from.
    NotNow(Box<NotNow>),
}

/// A message that can't begin at once.
#[derive(Debug)]
pub(super) struct NotNow {
    origin: Origin,
    responder: Responder,
    command: Box<dyn Command>,
    /// Its place among the others, kept for when it comes again.
    turn: Turn,
    /// Until then it has expired.
    caller_waits: Duration,
}

impl NotNow {
    /// Leaves it in the broker; returns when it could begin, or is not there any more.
    pub(super) async fn leave(self, dispatcher: &Dispatcher) {
        let Self { origin, responder, command, mut turn, caller_waits } = self;
        origin.hand_back(responder).await;
        let can_begin = dispatcher.until_can_begin(&mut turn, &*command);
        if time::timeout(caller_waits, can_begin).await.is_err() {
            debug!(method = command.name(), "A call has expired in the broker before it could begin.");
        }
    }
}

impl Intake {
    /// Returns when nothing is under way any more. To be called when nothing new is taken.
    pub(super) async fn finish_tasks(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The broker has delivered all that it had: what an earlier agent has begun and did not come again is forgotten there.
    pub(super) fn nothing_comes_again(&self) {
        self.receipts.forget_interrupted();
        self.dispatcher.none_is_interrupted();
    }

    /// Takes one message. Call it in the order of arrival; returns before anything is awaited.
    pub(super) fn take(&self, arrival: Arrival) -> Taken {
        let origin = arrival.origin.clone();
        catch_unwind(AssertUnwindSafe(|| self.sort(arrival))).unwrap_or_else(|_| {
            error!("A message brought about a panic when it was read; it is dropped.");
            self.tasks.spawn(async move { origin.give_up().await });
            Taken::Yes
        })
    }

    /// Leaves a message in the broker that nobody has begun: how long it has waited is not known here, and there its time to
    /// live goes on.
    pub(super) async fn leave(&self, arrival: Arrival) {
        let Arrival { body, compression, redelivered, origin, .. } = arrival;
        let cipher = origin.pen().cipher.as_ref();
        let request = compression::decode(body, compression.as_ref(), cipher, self.limits.max_message_bytes);
        if let Some(id) = request.ok().and_then(|request| request.unique_id) {
            let was_left = self.seen.was_left(&id);
            if was_left || !redelivered {
                self.seen.is_left(&id);
            }
        }
        origin.hand_back(Responder::new(None, Context::default())).await;
    }

    fn sort(&self, arrival: Arrival) -> Taken {
        let Arrival { body, compression, redelivered, caller_waits, at_once_or_not, origin } = arrival;
        let cipher = origin.pen().cipher.as_ref();
        let max_bytes = self.limits.max_message_bytes;
        let mut request = match compression::decode(body, compression.as_ref(), cipher, max_bytes) {
            Ok(request) => request,
            Err(undecodable) => {
                self.refuse_unread(*undecodable, origin, redelivered);
                return Taken::Yes;
            }
        };
        let _about = log::command_span(request.context.request_id()).entered();
        // Without an id nothing can be told apart; oslo.messaging always sends one. A call is known by its own, too.
        let id = request.unique_id.clone().or_else(|| request.reply.as_ref().map(|call| call.msg_id.clone()));
        let id = id.unwrap_or_else(new_id);
        let redelivered = redelivered && !self.seen.was_left(&id);
        if redelivered {
            self.ledger.metrics.redelivered();
        }
        let method = Method::from_name(&request.method);
        let mut entry = Entry::unread(&origin, &request.context, Some(id.clone()), method, redelivered);
        // The context is as long as the rest of a request: it is moved, as nobody else needs it.
        let action = UserAction::of(&request.context);
        let responder = Responder::to_request(&id, &mut request);
        let ticket = match self.seen.sight(&id) {
            Sighting::First(ticket) => ticket,
            Sighting::Repeated(repeat) => {
                debug!(id, "A message came again.");
                self.ledger.came_again();
                self.spawn(origin.clone(), self.clone().repeated(repeat, responder, origin, &id));
                return Taken::Yes;
            }
        };
        // The kernel vouches for who is on the socket; on the bus anybody may send what he has seen there.
        let (mut under_way, mut mark) = (None, None);
        if origin.way() == Way::Bus {
            let marks = Marks::of(&request, &id);
            mark = marks.id();
            match self.receipts.judge(marks) {
                Judgement::Fresh(fresh) => under_way = Some(fresh),
                Judgement::Known(recorded) => {
                    debug!(id, "A message came again that was carried out.");
                    self.ledger.came_again();
                    self.answer_again(&request, recorded, ticket, responder, origin, mark);
                    return Taken::Yes;
                }
                Judgement::Forged => {
                    warn!(id, method = request.method, "A message has parts of another one; it is not run.");
                    let nobody = Responder::new(None, Context::default());
                    self.refuse(None, None, nobody, replayed(), origin, entry);
                    return Taken::Yes;
                }
            }
        }
        let (is_call, behind_held) = match origin.way() {
            Way::Bus => (request.reply.is_some(), BehindHeld::Waits),
            Way::Local => (true, BehindHeld::IsRefused),
        };
        let accepted =
            match accept(&request, id.clone(), action, origin.way(), redelivered, caller_waits, &self.limits)
            {
                Ok(accepted) => accepted,
                Err(failure) => {
                    let under_way = under_way.filter(UnderWay::matters);
                    self.refuse(Some(ticket), under_way, responder, failure, origin, entry);
                    return Taken::Yes;
                }
            };
        let command = &*accepted.job.command;
        let turn = self.dispatcher.enqueue(command, behind_held);
        mark.inspect(|mark| self.dispatcher.has_come_again(*mark));
        let leave_it = caller_waits.filter(|_| at_once_or_not && is_call);
        if let Some(caller_waits) = leave_it.filter(|_| !self.dispatcher.can_begin(&turn, command)) {
            if !redelivered {
                self.seen.is_left(&id);
            }
            let command = accepted.job.command;
            return Taken::NotNow(Box::new(NotNow { origin, responder, command, turn, caller_waits }));
        }
        let changes = Changes::of(command);
        if changes.is_some() {
            under_way = under_way.map(UnderWay::lasting);
        }
        entry.is_for(command, changes.clone());
        let under_way = under_way.filter(UnderWay::matters);
        let span = entry.span();
        let command = Running { accepted, turn, ticket, under_way, mark, changes };
        let run = self.clone().run(command, responder, origin.clone(), entry).instrument(span);
        self.spawn(origin, run);
        Taken::Yes
    }

    fn refuse_unread(&self, undecodable: Undecodable, origin: Origin, redelivered: bool) {
        let Undecodable { reply, unique_id, method, context, error } = undecodable;
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
        if redelivered {
            self.ledger.metrics.redelivered();
        }
        let responder = match &unique_id {
            Some(id) => Responder::to(id, reply, context.clone()),
            None => Responder::new(reply, context.clone()),
        };
        let entry = Entry::unread(&origin, &context, unique_id, method, redelivered);
        self.refuse(None, None, responder.about(method), Failure::from(&error), origin, entry);
    }

    /// A message whose command was carried out before, by this agent or an earlier one: nothing runs.
    fn answer_again(
        &self,
        request: &Request,
        recorded: Option<(RecordedOutcome, Option<Seed>)>,
        ticket: Ticket,
        responder: Responder,
        origin: Origin,
        mark: Option<Seal>,
    ) {
        let outcome = recorded.map(|(outcome, seed)| match outcome {
            RecordedOutcome::Done => Outcome::Success(serde_json::Value::Null),
            RecordedOutcome::Failed(failure) => Outcome::Failure(failure),
            RecordedOutcome::Answered => {
                let command = commands::of_request(request, UserAction::default()).ok();
                let result = command.and_then(|command| command.result_again(seed.as_ref()));
                result.map_or_else(|| Summary::Answered.into(), Outcome::Success)
            }
        });
        // Without an outcome it was answered, and only its acknowledgement was lost.
        let publications = outcome.as_ref().map(|outcome| responder.answer(outcome, origin.pen()));
        let summary = outcome.as_ref().map_or(Summary::Done, Summary::of);
        let answer = ticket.finish(publications.unwrap_or_default(), origin.way(), summary);
        let this = self.clone();
        self.spawn(origin.clone(), async move { this.deliver(answer, &origin, None, mark).await });
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
        let (is_request, credible) = (ticket.is_some(), ticket.is_some() || origin.pen().cipher.is_none());
        let outcome = Outcome::Failure(failure.clone());
        let publications = responder.answer(&outcome, origin.pen());
        let answer = match ticket {
            Some(ticket) => ticket.finish(publications, origin.way(), Summary::of(&outcome)),
            None => undelivered(publications),
        };
        let mark = under_way.as_ref().and_then(UnderWay::mark);
        let lost_prepare = entry.prepare_id().filter(|_| credible);
        let this = self.clone();
        let (span, refused) = (entry.span(), origin.clone());
        let refuse = async move {
            if let Some(id) = lost_prepare {
                this.dispatcher.prepare_is_lost(&id, &failure.message).await;
            }
            this.ledger.close(entry, Verdict::Refused(failure)).await;
            if is_request {
                this.deliver(answer, &refused, under_way.as_ref(), mark).instrument(trace::answer()).await;
            } else {
                refused.dismiss(answer.lock().await.as_deref().unwrap_or_default(), credible).await;
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
}

fn replayed() -> Failure {
    Failure::new(FailureClass::Replayed, "parts of this message were in another one before; it is not run")
}
