//! What the tasks keep of a delivery while the core decides about it.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Span;
use trove_couchdb_delivery::{DeliveryId, Mark, Source};
use trove_couchdb_protocol::{Failure, OperationId, Outcome, Seal, SecretMap};

use super::Job;
use crate::{
    commands::{Progress, Seed},
    operations::Operation,
    status::InFlightGuard,
    trace,
    transport::rpc::{
        answer::Responder,
        command_log::CommandRecord,
        outcomes::RecordedOutcome,
        replay::ReplayTags,
        source::{RequestSourceRef, RequestTransport},
    },
};

/// The first wait before a command is run again; doubles.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// One delivery, until its message is acknowledged or given back.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) delivery: DeliveryId,
    /// `None` for a command that nobody has sent.
    pub(super) source_ref: Option<RequestSourceRef>,
    pub(super) id: String,
    pub(super) method: String,
    pub(super) marks: ReplayTags,
    /// For the log: whose request it is.
    pub(super) about: Span,
    /// For a collector: the whole command. What came again has none.
    span: OnceLock<Span>,
    state: Mutex<State>,
}

/// What changes on the way.
#[derive(Debug)]
pub(super) struct State {
    /// Dropped when it has ended: it holds passwords.
    pub(super) job: Option<Arc<Job>>,
    pub(super) seed: Option<Seed>,
    /// Consumed by the answer: a delivery is answered once.
    pub(super) responder: Option<Responder>,
    pub(super) entry: Option<CommandRecord>,
    /// Why it can't be run.
    pub(super) refusal: Option<Failure>,
    /// For the answer; dropped with it.
    pub(super) outcome: Option<Outcome>,
    pub(super) guard: Option<InFlightGuard>,
    /// It waits for its turn.
    pub(super) turn: Option<Span>,
    /// Ends the deadline's task.
    pub(super) deadline: Option<DropGuard>,
    /// Ends the signs of life.
    pub(super) beats: Option<DropGuard>,
    /// How often the caller wants a sign of life.
    pub(super) beat: Option<Duration>,
    pub(super) retry: Retry,
    /// Told when a command that nobody has sent is over.
    pub(super) over: Option<oneshot::Sender<()>>,
    /// The arguments of a long one, which are written down; dropped with the job.
    pub(super) arguments: Option<Arguments>,
    /// What it became.
    pub(super) handed_over: Option<OperationId>,
}

/// The arguments of a long command, as they came.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) all: SecretMap,
    /// They were encrypted.
    pub(super) is_sealed: bool,
}

/// What is known of failed attempts.
#[derive(Debug)]
pub(super) struct Retry {
    pub(super) wait: Duration,
    pub(super) pause: Duration,
    pub(super) has_rested: bool,
    pub(super) last_failure: Option<Failure>,
    pub(super) errors_since: Option<Instant>,
    pub(super) progress: Option<Progress>,
}

impl Retry {
    /// Whether nothing has failed yet.
    pub(super) fn is_first(&self) -> bool {
        !self.has_rested
    }
}

impl InFlight {
    pub(super) fn new(
        delivery: DeliveryId,
        source_ref: Option<RequestSourceRef>,
        id: String,
        method: String,
        marks: ReplayTags,
    ) -> Self {
        let retry = Retry {
            wait: FIRST_WAIT,
            pause: Duration::ZERO,
            has_rested: false,
            last_failure: None,
            errors_since: None,
            progress: None,
        };
        let state = State {
            job: None,
            seed: None,
            responder: None,
            entry: None,
            refusal: None,
            outcome: None,
            guard: None,
            turn: None,
            deadline: None,
            beats: None,
            beat: None,
            retry,
            over: None,
            arguments: None,
            handed_over: None,
        };
        let about = Span::current();
        Self {
            delivery,
            source_ref,
            id,
            method,
            marks,
            about,
            span: OnceLock::new(),
            state: Mutex::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn span(&self) -> Span {
        self.span.get().cloned().unwrap_or_else(Span::none)
    }

    /// It is run or refused: a collector hears of it.
    pub(super) fn is_new(&self) {
        let span = self.state().entry.as_ref().map_or_else(Span::none, CommandRecord::span);
        self.span.get_or_init(|| span);
    }

    pub(super) fn job(&self) -> Option<Arc<Job>> {
        self.state().job.clone()
    }

    /// What is kept of it, if it is an operation.
    pub(super) fn operation(&self) -> Option<&Operation> {
        self.source_ref.as_ref()?.operation()
    }

    /// What is written down of how it ended.
    pub(super) fn recorded(&self) -> Option<RecordedOutcome> {
        let state = self.state();
        match &state.handed_over {
            Some(operation) => Some(RecordedOutcome::HandedOver(operation.clone())),
            None => state.outcome.as_ref().map(RecordedOutcome::of),
        }
    }

    /// A collector sees the operation as what it is: the rest of the command.
    pub(super) fn goes_on_in(&self, operation: &Self) {
        operation.span.get_or_init(|| self.span());
    }

    pub(super) fn seal(&self) -> Option<Seal> {
        self.marks.id()
    }

    pub(super) fn source(&self) -> Source {
        match self.source_ref.as_ref().map(|source_ref| source_ref.transport()) {
            Some(RequestTransport::Bus) => Source::Broker,
            Some(RequestTransport::Local) => Source::Socket,
            Some(RequestTransport::Disk) => Source::Disk,
            None => Source::Own,
        }
    }

    /// It waits for its turn from now on.
    pub(super) fn waits(&self) {
        let turn = self.span().in_scope(trace::turn);
        self.state().turn = Some(turn);
    }

    /// Its turn has come, or it does not wait for it any more.
    pub(super) fn waits_no_more(&self) {
        self.state().turn = None;
    }

    /// A token for a task that ends with what is kept at `place`.
    pub(super) fn until(
        &self,
        place: impl FnOnce(&mut State) -> &mut Option<DropGuard>,
    ) -> CancellationToken {
        let token = CancellationToken::new();
        *place(&mut self.state()) = Some(token.clone().drop_guard());
        token
    }

    /// What a command has that is not run any more.
    pub(super) fn drop_job(&self) {
        let mut state = self.state();
        let gone = (state.job.take(), state.seed.take(), state.guard.take(), state.turn.take());
        let tasks = (state.deadline.take(), state.beats.take());
        let arguments = state.arguments.take();
        drop(state);
        drop((gone, tasks, arguments));
    }
}

/// Of the core's mark.
pub(super) fn seal_of(mark: Mark) -> Seal {
    Seal(mark.0)
}

/// For the core.
pub(super) fn mark_of(seal: Seal) -> Mark {
    Mark(seal.0)
}
