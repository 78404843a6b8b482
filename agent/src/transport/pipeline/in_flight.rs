//! What the tasks keep of a delivery while the core decides about it.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Span;
use trove_couchdb_delivery::{DeliveryId, Mark, Source};
use trove_couchdb_protocol::{Failure, Outcome, Seal};

use super::Job;
use crate::{
    commands::{Progress, Seed},
    status::Passage,
    trace,
    transport::{
        answer::Responder,
        ledger::Entry,
        origin::{Origin, Way},
        replay::Marks,
    },
};

/// The first wait before a command is run again; doubles.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// One delivery, until its message is acknowledged or given back.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) delivery: DeliveryId,
    /// `None` for a command that nobody has sent.
    pub(super) origin: Option<Origin>,
    pub(super) id: String,
    pub(super) method: String,
    pub(super) marks: Marks,
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
    pub(super) entry: Option<Entry>,
    /// Why it can't be run.
    pub(super) refusal: Option<Failure>,
    /// For the answer; dropped with it.
    pub(super) outcome: Option<Outcome>,
    pub(super) passage: Option<Passage>,
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

impl InFlight {
    pub(super) fn new(
        delivery: DeliveryId,
        origin: Option<Origin>,
        id: String,
        method: String,
        marks: Marks,
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
            passage: None,
            turn: None,
            deadline: None,
            beats: None,
            beat: None,
            retry,
            over: None,
        };
        let about = Span::current();
        Self { delivery, origin, id, method, marks, about, span: OnceLock::new(), state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn span(&self) -> Span {
        self.span.get().cloned().unwrap_or_else(Span::none)
    }

    /// It is run or refused: a collector hears of it.
    pub(super) fn is_new(&self) {
        let span = self.state().entry.as_ref().map_or_else(Span::none, Entry::span);
        self.span.get_or_init(|| span);
    }

    pub(super) fn job(&self) -> Option<Arc<Job>> {
        self.state().job.clone()
    }

    pub(super) fn seal(&self) -> Option<Seal> {
        self.marks.id()
    }

    pub(super) fn source(&self) -> Source {
        match self.origin.as_ref().map(Origin::way) {
            Some(Way::Bus) => Source::Broker,
            Some(Way::Local) => Source::Socket,
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
        let gone = (state.job.take(), state.seed.take(), state.passage.take(), state.turn.take());
        let tasks = (state.deadline.take(), state.beats.take());
        drop(state);
        drop((gone, tasks));
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
