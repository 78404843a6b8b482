//! From a decoded command to its outcome: order, concurrency, patience with CouchDB, and a barrier for panics.
//!
//! ```text
//! enqueue (in order of arrival) -> turn comes -> permit -> command -> transient error? wait, permit again
//!                                                             |
//!                                                             +-> Done::Answer(Outcome)
//! ```
//!
//! Called by `transport`, which answers and acknowledges and only then drops the [`Turn`]. Never talks to the
//! broker or to CouchDB itself.

mod job;
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
use trove_couchdb_protocol::{Failure, FailureClass, Outcome, Seal, new_id};

use crate::{
    commands::{Changes, Command, Guest, Needs, Run, RunError, Seed},
    status::{Passage, Retrying, Tally},
    system::BootInstant,
    trace,
};
use job::WaitsFor;
pub use job::{Done, Job};
use turn::Called;
pub use turn::{BehindHeld, Turn};

/// The first wait before a command is run again; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long a command is run again and again against a CouchDB that is there and fails: one that is away comes back,
/// one that answers with errors mostly goes on doing so, and everything behind the command waits meanwhile.
const PATIENCE_WITH_ERRORS: Duration = Duration::from_secs(20);

/// Runs jobs.
#[derive(Debug)]
pub struct Dispatcher {
    guest: Guest,
    turns: turn::Turns,
    permits: Semaphore,
    max_concurrent: usize,
    tally: Tally,
    stopping: CancellationToken,
}

impl Dispatcher {
    /// At most `max_concurrent` commands run side by side; none starts once `stopping` is cancelled.
    pub fn new(guest: Guest, max_concurrent: usize, tally: Tally, stopping: CancellationToken) -> Self {
        let max_concurrent = max_concurrent.max(1);
        let permits = Semaphore::new(max_concurrent);
        Self { guest, turns: turn::Turns::default(), permits, max_concurrent, tally, stopping }
    }

    /// Takes a command's place in the order. Call it in the order of arrival.
    pub fn enqueue(&self, command: &dyn Command, behind_held: BehindHeld) -> Turn {
        command.on_arrival(&self.guest);
        self.turns.take(command.scopes(), behind_held)
    }

    /// An earlier agent has begun this and not ended it: commands of this machine keep off until it is delivered again.
    pub fn is_interrupted(&self, mark: Seal, changes: &Changes) {
        self.turns.is_interrupted(mark, changes.scopes());
    }

    /// It is delivered again, and has its place.
    pub fn has_come_again(&self, mark: Seal) {
        self.turns.has_come_again(mark);
    }

    /// The broker has delivered all that it had.
    pub fn none_is_interrupted(&self) {
        self.turns.none_is_interrupted();
    }

    /// Returns when a command that has this place can begin, or is not to wait for that.
    pub async fn until_can_begin(&self, turn: &mut Turn, command: &dyn Command) {
        turn.come().await;
        drop(if needs_a_permit(command) { self.permits.acquire().await.ok() } else { None });
    }

    /// Returns when the agent stops.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Whether a command that has this place can begin now.
    pub fn can_begin(&self, turn: &Turn, command: &dyn Command) -> bool {
        turn.has_come() && (!needs_a_permit(command) || self.permits.available_permits() > 0)
    }

    /// A `prepare` was refused before it could become a job.
    pub async fn prepare_is_lost(&self, id: &str, reason: &str) {
        self.guest.preparation.refuse(id, &format!("prepare was refused: {reason}")).await;
    }

    /// Runs a command that nobody has sent, when its turn has come. What comes of it is in the log.
    pub async fn run_own(&self, command: Box<dyn Command>) {
        let mut turn = self.enqueue(&*command, BehindHeld::Waits);
        let job = Job {
            command,
            id: new_id(),
            redelivered: false,
            arrived: BootInstant::now(),
            patience: Duration::ZERO,
            begin_within: None,
            seed: Seed::random(),
        };
        self.run(&mut turn, &job).await;
    }

    /// Waits for the turn, then runs the job.
    pub async fn run(&self, turn: &mut Turn, job: &Job) -> Done {
        let mut passage = job.command.is_counted().then(|| self.tally.enter());
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Done::HandBack { begun: false },
            called = turn.come().instrument(trace::turn()) => if let Called::Off(reason) = called {
                return Done::Refused(held_up(job, reason));
            },
            () = job.caller_gone() => {}
        }
        // Also when its turn has come: the process may have been stopped meanwhile.
        if job.is_too_late() {
            return self.too_late(job, WaitsFor::Turn);
        }
        let done = self.run_patiently(job, &mut passage).await;
        if let Done::Answer(Outcome::Failure(failure)) | Done::Refused(failure) = &done {
            job.command.on_failure(&self.guest, &job.id, &failure.message).await;
        }
        done
    }

    async fn run_patiently(&self, job: &Job, passage: &mut Option<Passage>) -> Done {
        let mut wait = FIRST_WAIT;
        let mut again = job.redelivered;
        let mut last_failure: Option<Failure> = None;
        let mut errors_since = None;
        let mut progress = None;
        loop {
            // The pause before this run may have been longer than it was meant to be.
            if let Some(failure) = last_failure.take_if(|_| job.arrived.elapsed() > job.patience) {
                log_failure(job, &failure);
                return Done::Answer(Outcome::Failure(failure));
            }
            // Held for one run only: commands that wait for CouchDB don't keep others from running.
            let permit = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Done::HandBack { begun: last_failure.is_some() },
                permit = self.permit(job) => permit,
                // Once it has begun, its answer is what came of it.
                () = job.caller_gone(), if last_failure.is_none() => None,
            };
            if last_failure.is_none() && job.is_too_late() {
                return self.too_late(job, WaitsFor::Permit);
            }
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
                    return Done::HandBack { begun: true };
                }
                Err(error) => error,
            };
            if let Some(known) = error.progress() {
                progress = Some(known.clone().max(progress));
            }
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
                // The last run may have come no further than a refused connection.
                let failure = Failure::from(error.after(progress));
                log_failure(job, &failure);
                return if refused {
                    Done::Refused(failure)
                } else {
                    Done::Answer(Outcome::Failure(failure))
                };
            }
            again |= error.may_have_taken_effect();
            let failure = Failure::from(error);
            if last_failure.is_none() {
                let reason = failure.message.as_str();
                let (method, id) = (job.command.name(), job.id.as_str());
                if job.command.needs() == Needs::Hostd {
                    warn!(method, id, reason, "A command waits for trove-couchdb-hostd.");
                } else {
                    warn!(method, id, reason, "A command waits for CouchDB.");
                }
                if let Some(passage) = passage {
                    let (method, retry_timeout) = (job.command.name(), job.patience);
                    let reason = reason.to_owned();
                    passage.set_retrying(Retrying { method, reason, retry_timeout });
                }
            }
            last_failure = Some(failure);
            wait = (wait * 2).min(LONGEST_WAIT);
            tokio::select! {
                () = self.stopping.cancelled() => return Done::HandBack { begun: true },
                () = time::sleep(pause) => {}
            }
        }
    }

    fn too_late(&self, job: &Job, waited_for: WaitsFor) -> Done {
        let method = job.command.name();
        warn!(
            method,
            id = job.id,
            ?waited_for,
            "Its caller has given up before it could begin; it is not run."
        );
        let text = match waited_for {
            WaitsFor::Turn => {
                format!(
                    "{method} waited too long for earlier commands on the same user or database; try again"
                )
            }
            WaitsFor::Permit => format!(
                "{method} waited too long for CouchDB, which {} other commands are waiting for (rpc.max_concurrent); try again",
                self.max_concurrent
            ),
        };
        if job.redelivered {
            let text = format!("{text} (a part of it may stand: the agent was restarted while it ran)");
            return Done::Answer(Outcome::Failure(Failure::new(FailureClass::Busy, text)));
        }
        Done::Refused(Failure::new(FailureClass::Busy, text))
    }

    /// Leave to run; what does not touch CouchDB needs none, and answers while CouchDB hangs.
    async fn permit(&self, job: &Job) -> Option<SemaphorePermit<'_>> {
        if needs_a_permit(&*job.command) { self.permits.acquire().await.ok() } else { None }
    }

    async fn run_once(&self, job: &Job, again: bool) -> Result<Outcome, RunError> {
        let run = self.guest.run(&*job.command, Run { id: &job.id, again, seed: &job.seed }).boxed();
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

/// Whether a command takes one of the `rpc.max_concurrent` places.
fn needs_a_permit(command: &dyn Command) -> bool {
    command.needs() == Needs::CouchDb
}

fn held_up(job: &Job, reason: String) -> Failure {
    warn!(method = job.command.name(), id = job.id, reason, "An earlier command holds it up; it is not run.");
    Failure::new(FailureClass::Busy, reason)
}

fn log_outcome(job: &Job, outcome: &Outcome) {
    let (method, id, ms) = (job.command.name(), job.id.as_str(), job.arrived.elapsed().as_millis());
    match outcome {
        Outcome::Success(_) if job.command.scopes().only_reads() => debug!(method, id, ms, "Done."),
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
