//! What the tasks keep of a delivery while the core decides about it.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Span;
use trove_couchdb_delivery::{DeliveryId, ReplayTag, Source};
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

/// The first delay before a command is retried; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// One delivery, until its message is acknowledged or requeued.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) delivery: DeliveryId,
    /// `None` for the agent's own commands.
    pub(super) source_ref: Option<RequestSourceRef>,
    pub(super) id: String,
    pub(super) method: String,
    pub(super) tags: ReplayTags,
    /// The request's span, for log lines.
    pub(super) about: Span,
    /// The span of the whole command, for a collector. Duplicates have none.
    span: OnceLock<Span>,
    state: Mutex<State>,
}

/// The mutable part of a delivery.
#[derive(Debug)]
pub(super) struct State {
    /// Dropped when the command has ended, because it contains passwords.
    pub(super) job: Option<Arc<Job>>,
    pub(super) seed: Option<Seed>,
    /// Consumed by the answer, so that a delivery is answered only once.
    pub(super) responder: Option<Responder>,
    pub(super) entry: Option<CommandRecord>,
    /// Why the command cannot run.
    pub(super) refusal: Option<Failure>,
    /// Consumed by the answer.
    pub(super) outcome: Option<Outcome>,
    pub(super) guard: Option<InFlightGuard>,
    /// The span of the wait for the lock.
    pub(super) lock_wait: Option<Span>,
    /// Stops the deadline's task when it is dropped.
    pub(super) deadline: Option<DropGuard>,
    /// Stops the call heartbeats when it is dropped.
    pub(super) beats: Option<DropGuard>,
    /// The interval of the call heartbeats.
    pub(super) beat: Option<Duration>,
    pub(super) retry: Retry,
    /// Notified when one of the agent's own commands is done.
    pub(super) over: Option<oneshot::Sender<()>>,
    /// The arguments of a long command, to be stored; dropped with the job.
    pub(super) arguments: Option<Arguments>,
    /// The operation that the command became.
    pub(super) handed_over: Option<OperationId>,
}

/// The arguments of a long command, as they were received.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) all: SecretMap,
    /// They were encrypted.
    pub(super) is_sealed: bool,
}

/// The state of the retries.
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
    /// Whether no attempt has failed yet.
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
        tags: ReplayTags,
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
            lock_wait: None,
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
            tags,
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

    /// Opens the collector's span for a command that is run or refused.
    pub(super) fn is_new(&self) {
        let span = self.state().entry.as_ref().map_or_else(Span::none, CommandRecord::span);
        self.span.get_or_init(|| span);
    }

    pub(super) fn job(&self) -> Option<Arc<Job>> {
        self.state().job.clone()
    }

    /// The operation, if the command is one.
    pub(super) fn operation(&self) -> Option<&Operation> {
        self.source_ref.as_ref()?.operation()
    }

    /// The outcome as it is stored.
    pub(super) fn recorded(&self) -> Option<RecordedOutcome> {
        let state = self.state();
        match &state.handed_over {
            Some(operation) => Some(RecordedOutcome::HandedOver(operation.clone())),
            None => state.outcome.as_ref().map(RecordedOutcome::of),
        }
    }

    /// Makes the operation part of the command's span.
    pub(super) fn goes_on_in(&self, operation: &Self) {
        operation.span.get_or_init(|| self.span());
    }

    pub(super) fn seal(&self) -> Option<Seal> {
        self.tags.id()
    }

    pub(super) fn source(&self) -> Source {
        match self.source_ref.as_ref().map(|source_ref| source_ref.transport()) {
            Some(RequestTransport::Broker) => Source::Broker,
            Some(RequestTransport::Local) => Source::Socket,
            Some(RequestTransport::Disk) => Source::Disk,
            None => Source::Own,
        }
    }

    /// Opens the span of the wait for the lock.
    pub(super) fn starts_waiting(&self) {
        let lock_wait = self.span().in_scope(trace::lock_wait);
        self.state().lock_wait = Some(lock_wait);
    }

    /// Closes the span of the wait for the lock.
    pub(super) fn stops_waiting(&self) {
        self.state().lock_wait = None;
    }

    /// A token for a task that stops when the guard in `slot` is dropped.
    pub(super) fn until(&self, slot: impl FnOnce(&mut State) -> &mut Option<DropGuard>) -> CancellationToken {
        let token = CancellationToken::new();
        *slot(&mut self.state()) = Some(token.clone().drop_guard());
        token
    }

    /// Drops what a command needs only until it has ended.
    pub(super) fn drop_job(&self) {
        let mut state = self.state();
        let gone = (state.job.take(), state.seed.take(), state.guard.take(), state.lock_wait.take());
        let tasks = (state.deadline.take(), state.beats.take());
        let arguments = state.arguments.take();
        drop(state);
        drop((gone, tasks, arguments));
    }
}

pub(super) fn seal_of(tag: ReplayTag) -> Seal {
    Seal(tag.0)
}

pub(super) fn tag_of(seal: Seal) -> ReplayTag {
    ReplayTag(seal.0)
}
