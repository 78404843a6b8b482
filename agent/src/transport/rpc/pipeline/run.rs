//! Runs a command, retries it while CouchDB is down, and catches its panics.

use std::{
    panic::AssertUnwindSafe,
    thread,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use rand::RngExt;
use serde_json::Value;
use tokio::time;
use tracing::{Instrument, debug, error, info, warn};
use trove_couchdb_delivery::{Event, WaitsFor};
use trove_couchdb_protocol::{Failure, FailureClass, Outcome};

use super::{InFlight, Job, RequestPipeline, hand_over::cancelled, job::Ending};
use crate::{
    audit::AuditOutcome,
    commands::{Needs, Run, RunError, Seed},
    status::Retrying,
    trace,
    transport::rpc::outcomes::RecordedOutcome,
};

/// The longest delay before a retry.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long a command is retried while CouchDB answers with errors. A CouchDB that is down comes back; one
/// that answers with errors usually keeps doing so, and all later commands wait meanwhile.
const RETRY_TIMEOUT_WITH_ERRORS: Duration = Duration::from_secs(20);

impl RequestPipeline {
    /// Makes one attempt and handles its result.
    pub(super) async fn run(&self, flight: &InFlight, again: bool) {
        flight.waits_no_more();
        let Some(job) = flight.job() else { return };
        let failed_before = flight.state().retry.last_failure.take();
        match failed_before {
            // Checked again after the lock is acquired: the process may have been suspended meanwhile.
            None if job.is_too_late() => {
                warn!(
                    method = job.command.name(),
                    id = job.id,
                    "Its caller has given up before it could begin; it is not run."
                );
                let ending = job.too_late(WaitsFor::Turn, self.0.limits.max_concurrent);
                return self.fail(flight, &job, ending).await;
            }
            // The pause before this attempt may have been longer than intended.
            Some(failure) if job.arrived.elapsed() > job.retry_timeout => {
                log_failure(&job, &failure);
                return self.fail(flight, &job, Ending::failed(failure)).await;
            }
            _ => {}
        }
        if let Some(operation) = flight.operation().filter(|_| again && flight.state().retry.is_first()) {
            operation.resume().await;
        }
        set_running(flight, true);
        let result = self.run_once(flight, &job, again).instrument(trace::attempt()).await;
        set_running(flight, false);
        match result {
            Ok(outcome) => {
                log_outcome(&job, &outcome);
                self.fail(flight, &job, Ending::ran(outcome)).await;
            }
            Err(error) if error.is_stopping() && self.0.stopping.is_cancelled() => {
                self.tell(Event::CutShort(flight.delivery));
            }
            Err(error) => self.has_failed(flight, &job, error, again).await,
        }
    }

    /// Handles a failed attempt: decides whether there is a reason, and time, to retry.
    async fn has_failed(&self, flight: &InFlight, job: &Job, error: RunError, again: bool) {
        let (pause, given_up, progress) = {
            let mut state = flight.state();
            let retry = &mut state.retry;
            if let Some(known) = error.progress() {
                retry.progress = Some(known.clone().max(retry.progress.take()));
            }
            let pause = jittered(retry.wait);
            // A CouchDB that has just come back may fail for a while; its downtime does not count as failing.
            let failing_for = if error.is_outage() {
                retry.errors_since = None;
                Duration::ZERO
            } else {
                retry.errors_since.get_or_insert_with(Instant::now).elapsed()
            };
            let given_up = job.arrived.elapsed() + pause > job.retry_timeout
                || failing_for + pause > RETRY_TIMEOUT_WITH_ERRORS;
            (pause, given_up, retry.progress.clone())
        };
        if !error.is_transient() || given_up {
            let refused = error.is_refusal() && !again;
            // The last run may have come no further than a refused connection.
            let failure = Failure::from(error.after(progress));
            log_failure(job, &failure);
            let ending = if refused { Ending::refused(failure) } else { Ending::failed(failure) };
            return self.fail(flight, job, ending).await;
        }
        let effect = error.may_have_taken_effect();
        let failure = Failure::from(error);
        {
            let mut state = flight.state();
            let is_first = !state.retry.has_rested;
            if is_first {
                let reason = failure.message.as_str();
                if let Some(operation) = flight.operation() {
                    operation.say(&format!("waits: {reason}"));
                }
                let (method, id) = (job.command.name(), job.id.as_str());
                if job.command.needs() == Needs::Hostd {
                    warn!(method, id, reason, "A command waits for trove-couchdb-hostd.");
                } else {
                    warn!(method, id, reason, "A command waits for CouchDB.");
                }
                if let Some(guard) = &mut state.guard {
                    let (method, retry_timeout) = (job.command.name(), job.retry_timeout);
                    let reason = reason.to_owned();
                    guard.set_retrying(Retrying { method, reason, retry_timeout });
                }
            }
            let retry = &mut state.retry;
            (retry.last_failure, retry.pause, retry.has_rested) = (Some(failure), pause, true);
            retry.wait = (retry.wait * 2).min(LONGEST_WAIT);
        }
        self.tell(Event::Failed { delivery: flight.delivery, effect });
    }

    pub(super) async fn rest(&self, flight: &InFlight) {
        let pause = flight.state().retry.pause;
        let cancelled = async {
            match flight.operation() {
                Some(operation) => operation.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.0.stopping.cancelled() => {}
            () = cancelled => {}
            () = time::sleep(pause) => {}
        }
        self.tell(Event::Rested(flight.delivery));
    }

    async fn run_once(&self, flight: &InFlight, job: &Job, again: bool) -> Result<Outcome, RunError> {
        let seed = flight.state().seed.get_or_insert_with(Seed::random).clone();
        let operation = flight.operation();
        let run = Run { id: &job.id, again, seed: &seed, operation };
        let run = AssertUnwindSafe(self.0.guest.run(&*job.command, run).boxed()).catch_unwind();
        let Some(operation) = operation else { return ended(job, run.await) };
        tokio::select! {
            biased;
            () = operation.cancelled() => Ok(Outcome::Failure(cancelled(operation))),
            // It may take hours, so the next agent continues it.
            () = self.0.stopping.cancelled() => Err(RunError::stopping()),
            result = run => ended(job, result),
        }
    }

    /// Ends a command, and notifies it if it failed.
    async fn fail(&self, flight: &InFlight, job: &Job, ending: Ending) {
        let ending = settled(flight, ending);
        if let Outcome::Failure(failure) = &ending.outcome {
            job.command.on_failure(&self.0.guest, &job.id, &failure.message).await;
        }
        self.finish(flight, ending).await;
    }

    /// Ends a command. It is audited before it is answered.
    pub(super) async fn finish(&self, flight: &InFlight, ending: Ending) {
        let Ending { outcome, verdict } = ending;
        flight.drop_job();
        let entry = flight.state().entry.take();
        let succeeded = verdict == AuditOutcome::Ok;
        if let Some(entry) = entry {
            self.0.command_log.close(entry, verdict).await;
        }
        let recorded = RecordedOutcome::of(&outcome);
        flight.state().outcome = Some(outcome);
        self.tell(Event::Finished { delivery: flight.delivery, outcome: recorded, succeeded });
    }
}

/// How a command ends. An operation that was cancelled meanwhile ends as cancelled.
pub(super) fn settled(flight: &InFlight, ending: Ending) -> Ending {
    let is_said =
        matches!(&ending.outcome, Outcome::Failure(failure) if failure.is(FailureClass::OperationCancelled));
    match flight.operation() {
        Some(operation) if operation.settle() && !is_said => Ending::failed(cancelled(operation)),
        _ => ending,
    }
}

/// The result of one attempt, even if it panicked.
fn ended(job: &Job, result: thread::Result<Result<Value, RunError>>) -> Result<Outcome, RunError> {
    match result {
        Ok(result) => result.map(Outcome::Success),
        // The panic's text may contain anything; the panic hook has logged its location.
        Err(_panic) => {
            error!(method = job.command.name(), id = job.id, "A command ended in a panic.");
            let text = format!("the guest agent failed on {}; see its log", job.command.name());
            Ok(Outcome::Failure(Failure::new(FailureClass::InternalError, text)))
        }
    }
}

fn set_running(flight: &InFlight, running: bool) {
    if let Some(guard) = &mut flight.state().guard {
        guard.set_running(running);
    }
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

/// A random 50% to 100% of a delay, so that many agents do not retry at once.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.5..=1.0))
}
