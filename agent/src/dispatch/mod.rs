//! From a decoded command to its outcome: order, concurrency, patience with CouchDB, and a barrier for panics.
//!
//! ```text
//! enqueue (in order of arrival) -> turn comes -> permit -> handler -> transient error? wait, permit again
//!                                                             |
//!                                                             +-> Done::Answer(Outcome)
//! ```
//!
//! Called by `transport`, which answers and acknowledges and only then drops the [`Turn`]. Never talks to the
//! broker or to CouchDB itself.

mod changes;
mod footprint;
mod order;
mod turn;

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use rand::RngExt;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, warn};
use trove_couchdb_protocol::{Failure, FailureClass, Outcome, trove::Command};

use crate::{
    handlers::{HandlerError, Handlers, Run},
    status::{Passage, Tally},
    trace,
};
pub use changes::Changes;
use footprint::Footprint;
pub use turn::Turn;

/// The first wait before a command is run again; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long a command is run again and again against a CouchDB that is there and fails: one that is away comes back,
/// one that answers with errors mostly goes on doing so, and everything behind the command waits meanwhile.
const PATIENCE_WITH_ERRORS: Duration = Duration::from_secs(20);

/// A command on its way.
#[derive(Debug)]
pub struct Job {
    /// What to do.
    pub command: Command,
    /// The request's `_unique_id`, or one of our own if it had none.
    pub id: String,
    /// The broker delivered it before, so an earlier agent may have done a part of it.
    pub redelivered: bool,
    /// When it came.
    pub arrived: Instant,
    /// How long, from its arrival on, to bear with a CouchDB that is away before the command fails.
    pub patience: Duration,
    /// How long after its arrival it may begin. One that could only begin later is not run: its caller has been told
    /// that it failed.
    pub begin_within: Option<Duration>,
}

/// What became of a job.
#[derive(Debug)]
pub enum Done {
    /// It ran; this is the answer.
    Answer(Outcome),
    /// It was not begun; this is why.
    Refused(Failure),
    /// The agent is stopping and the job did not run to its end: the broker shall have it back.
    HandBack,
}

/// Runs jobs.
#[derive(Debug)]
pub struct Dispatcher {
    handlers: Handlers,
    turns: turn::Turns,
    permits: Semaphore,
    tally: Tally,
    stopping: CancellationToken,
}

impl Dispatcher {
    /// At most `max_concurrent` commands run side by side; none starts once `stopping` is cancelled.
    pub fn new(handlers: Handlers, max_concurrent: usize, tally: Tally, stopping: CancellationToken) -> Self {
        let permits = Semaphore::new(max_concurrent.max(1));
        Self { handlers, turns: turn::Turns::default(), permits, tally, stopping }
    }

    /// Takes a command's place in the order. Call it in the order of arrival.
    pub fn enqueue(&self, command: &Command) -> Turn {
        if matches!(command, Command::Prepare(_)) {
            self.handlers.preparation.has_come();
        }
        self.turns.take(Footprint::of(command))
    }

    /// A `prepare` was refused before it could become a job.
    pub async fn prepare_is_lost(&self, id: &str, reason: &str) {
        self.handlers.preparation.refuse(id, &format!("prepare was refused: {reason}")).await;
    }

    /// Waits for the turn, then runs the job.
    pub async fn run(&self, turn: &mut Turn, job: &Job) -> Done {
        // What asks for the figures is not among them.
        let mut passage = (job.command != Command::GetAgentStatus).then(|| self.tally.enter());
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Done::HandBack,
            () = turn.come().instrument(trace::turn()) => {}
            () = caller_gone(job) => return too_late(job),
        }
        let done = self.run_patiently(job, &mut passage).await;
        if let Done::Answer(Outcome::Failure(failure)) | Done::Refused(failure) = &done {
            self.handlers.gave_up(&job.command, &job.id, &failure.message).await;
        }
        done
    }

    async fn run_patiently(&self, job: &Job, passage: &mut Option<Passage>) -> Done {
        let mut wait = FIRST_WAIT;
        let mut again = job.redelivered;
        let mut told = false;
        let mut errors_since = None;
        loop {
            // Held for one run only: commands that wait for CouchDB don't keep others from running.
            let permit = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Done::HandBack,
                permit = self.permit(job) => permit,
                // Once it has begun, its answer is what came of it.
                () = caller_gone(job), if !told => return too_late(job),
            };
            if let Some(passage) = passage {
                passage.set_running(true);
            }
            let result = self.run_once(job, again).instrument(trace::attempt()).await;
            if let Some(passage) = passage {
                passage.set_running(false);
            }
            drop(permit);
            let error = match result {
                Ok(outcome) => {
                    log_outcome(job, &outcome);
                    return Done::Answer(outcome);
                }
                Err(error) if error.is_stopping() && self.stopping.is_cancelled() => {
                    return Done::HandBack;
                }
                Err(error) => error,
            };
            let pause = jittered(wait);
            // A CouchDB that has only just come back may stumble: what it was away before does not count for that.
            let failing_for = if error.is_outage() {
                errors_since = None;
                Duration::ZERO
            } else {
                errors_since.get_or_insert_with(Instant::now).elapsed()
            };
            let given_up =
                job.arrived.elapsed() + pause > job.patience || failing_for + pause > PATIENCE_WITH_ERRORS;
            if !error.is_transient() || given_up {
                let refused = error.is_refusal() && !again;
                let failure = Failure::from(error);
                log_failure(job, &failure);
                return if refused {
                    Done::Refused(failure)
                } else {
                    Done::Answer(Outcome::Failure(failure))
                };
            }
            again |= error.may_have_taken_effect();
            if !told {
                told = true;
                let reason = Failure::from(error).message;
                warn!(method = job.command.name(), id = job.id, reason, "A command waits for CouchDB.");
            }
            wait = (wait * 2).min(LONGEST_WAIT);
            tokio::select! {
                () = self.stopping.cancelled() => return Done::HandBack,
                () = time::sleep(pause) => {}
            }
        }
    }

    /// Leave to run; what does not touch CouchDB needs none, and answers while CouchDB hangs.
    async fn permit(&self, job: &Job) -> Option<SemaphorePermit<'_>> {
        if job.command.needs_couchdb() { self.permits.acquire().await.ok() } else { None }
    }

    async fn run_once(&self, job: &Job, again: bool) -> Result<Outcome, HandlerError> {
        let run = self.handlers.run(&job.command, Run { id: &job.id, again }).boxed();
        match AssertUnwindSafe(run).catch_unwind().await {
            Ok(result) => result.map(Outcome::Success),
            // The panic's text may quote anything; the hook has logged where it was.
            Err(_panic) => {
                error!(method = job.command.name(), id = job.id, "A command ended in a panic.");
                let text = format!("the guest agent failed on {}; see its log", job.command.name());
                Ok(Outcome::Failure(Failure::new(FailureClass::InternalError, text)))
            }
        }
    }
}

/// Returns when it is too late to begin; never for a cast.
async fn caller_gone(job: &Job) {
    match job.begin_within {
        Some(within) => time::sleep_until((job.arrived + within).into()).await,
        None => std::future::pending().await,
    }
}

fn too_late(job: &Job) -> Done {
    let method = job.command.name();
    warn!(method, id = job.id, "Its caller has given up before its turn came; it is not run.");
    let text =
        format!("{method} waited too long for earlier commands on the same user or database; try again");
    if job.redelivered {
        let text = format!("{text} (a part of it may stand: the agent was restarted while it ran)");
        return Done::Answer(Outcome::Failure(Failure::new(FailureClass::Busy, text)));
    }
    Done::Refused(Failure::new(FailureClass::Busy, text))
}

fn log_outcome(job: &Job, outcome: &Outcome) {
    let (method, id, ms) = (job.command.name(), job.id.as_str(), job.arrived.elapsed().as_millis());
    match outcome {
        Outcome::Success(_) if Footprint::of(&job.command).only_reads() => debug!(method, id, ms, "Done."),
        Outcome::Success(_) => info!(method, id, ms, "Done."),
        Outcome::Failure(failure) => log_failure(job, failure),
    }
}

fn log_failure(job: &Job, failure: &Failure) {
    let (method, id, ms) = (job.command.name(), job.id.as_str(), job.arrived.elapsed().as_millis());
    warn!(method, id, ms, reason = failure.message, "Refused or failed.");
}

/// Between half and all of a wait, so that many agents don't come back at once.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.5..=1.0))
}
