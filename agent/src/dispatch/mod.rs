//! From a decoded command to its outcome: order, concurrency, patience with CouchDB, and a barrier for panics.
//!
//! ```text
//! enqueue (in order of arrival) -> turn comes -> permit -> handler -> transient error? wait, again
//!                                                             |
//!                                                             +-> Done::Answer(Outcome)
//! ```
//!
//! Called by `transport`, which answers and acknowledges and only then drops the [`Turn`]. Never talks to the
//! broker or to CouchDB itself.

mod footprint;
mod order;
mod turn;

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use rand::RngExt;
use tokio::{sync::Semaphore, time};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use trove_couchdb_protocol::{Failure, Outcome, trove::Command};

use crate::handlers::{HandlerError, Handlers, Run};
use footprint::Footprint;
pub use turn::Turn;

/// The first wait before a command is run again; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A command on its way.
#[derive(Debug)]
pub struct Job {
    /// What to do.
    pub command: Command,
    /// The request's `_unique_id`, or one of our own if it had none.
    pub id: String,
    /// The broker delivered it before, so an earlier agent may have done a part of it.
    pub redelivered: bool,
    /// How long to bear with a CouchDB that is away before the command fails.
    pub patience: Duration,
}

/// What became of a job.
#[derive(Debug)]
pub enum Done {
    /// It ran; this is the answer.
    Answer(Outcome),
    /// The agent is stopping and the job did not run to its end: the broker shall have it back.
    HandBack,
}

/// Runs jobs.
#[derive(Debug)]
pub struct Dispatcher {
    handlers: Handlers,
    turns: turn::Turns,
    permits: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl Dispatcher {
    /// At most `max_concurrent` commands run side by side; none starts once `stopping` is cancelled.
    pub fn new(handlers: Handlers, max_concurrent: usize, stopping: CancellationToken) -> Self {
        let permits = Arc::new(Semaphore::new(max_concurrent.max(1)));
        Self { handlers, turns: turn::Turns::default(), permits, stopping }
    }

    /// Takes a command's place in the order. Call it in the order of arrival.
    pub fn enqueue(&self, command: &Command) -> Turn {
        self.turns.take(Footprint::of(command))
    }

    /// Waits for the turn, then runs the job.
    pub async fn run(&self, turn: &mut Turn, job: &Job) -> Done {
        let permit = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Done::HandBack,
            permit = async { turn.come().await; self.permits.acquire().await } => permit,
        };
        let Ok(_permit) = permit else {
            return Done::HandBack;
        };
        self.run_patiently(job).await
    }

    async fn run_patiently(&self, job: &Job) -> Done {
        let started = Instant::now();
        let mut wait = FIRST_WAIT;
        let mut again = job.redelivered;
        loop {
            let error = match self.run_once(job, again).await {
                Ok(outcome) => {
                    log_outcome(job, &outcome, started.elapsed());
                    return Done::Answer(outcome);
                }
                Err(error) => error,
            };
            let pause = jittered(wait);
            if started.elapsed() + pause > job.patience {
                let outcome = Outcome::Failure(Failure::from(error));
                log_outcome(job, &outcome, started.elapsed());
                return Done::Answer(outcome);
            }
            if again == job.redelivered {
                let reason = Failure::from(error).message;
                warn!(method = job.command.name(), id = job.id, reason, "A command waits for CouchDB.");
            }
            again = true;
            wait = (wait * 2).min(LONGEST_WAIT);
            tokio::select! {
                () = self.stopping.cancelled() => return Done::HandBack,
                () = time::sleep(pause) => {}
            }
        }
    }

    /// An error only for what may go better in a moment.
    async fn run_once(&self, job: &Job, again: bool) -> Result<Outcome, HandlerError> {
        let run = self.handlers.run(&job.command, Run { id: &job.id, again }).boxed();
        match AssertUnwindSafe(run).catch_unwind().await {
            Ok(Ok(value)) => Ok(Outcome::Success(value)),
            Ok(Err(error)) if error.is_transient() => Err(error),
            Ok(Err(error)) => Ok(Outcome::Failure(error.into())),
            // The panic's text may quote anything; the hook has logged where it was.
            Err(_panic) => {
                error!(method = job.command.name(), id = job.id, "A command ended in a panic.");
                let text = format!("the guest agent failed on {}; see its log", job.command.name());
                Ok(Outcome::Failure(Failure::new("InternalError", text)))
            }
        }
    }
}

fn log_outcome(job: &Job, outcome: &Outcome, took: Duration) {
    let (method, id, ms) = (job.command.name(), job.id.as_str(), took.as_millis());
    match outcome {
        Outcome::Success(_) => info!(method, id, ms, "Done."),
        Outcome::Failure(failure) => warn!(method, id, ms, reason = failure.message, "Refused or failed."),
    }
}

/// Between half and all of a wait, so that many agents don't come back at once.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.5..=1.0))
}
