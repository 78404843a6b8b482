//! Builds the refusals of messages that are not run.

use tracing::{debug, warn};
use trove_couchdb_delivery::{Refusal, WaitsFor};
use trove_couchdb_protocol::{Context, Failure, FailureClass, Outcome, trove::Method};

use super::{InFlight, RequestPipeline, is_credible, job::Ending, run::settled};
use crate::{
    audit::AuditOutcome,
    transport::rpc::{
        answer::{Publication, Responder},
        source::RequestSourceRef,
    },
};

/// The refusal of a local command while an interrupted command waits for its redelivery.
const INTERRUPTED: &str = "an earlier command on the same user or database, which came from the broker, was interrupted and may \
                           be half done; the broker delivers it again as soon as it can be reached, and nothing else is \
                           changed there before: see `trove-couchdb status`, and try again";

impl RequestPipeline {
    /// Builds a refusal and ends the command with it.
    pub(super) async fn refuse(&self, flight: &InFlight, why: Refusal) {
        flight.waits_no_more();
        let (job, refusal) = {
            let mut state = flight.state();
            (state.job.clone(), state.refusal.take())
        };
        let ending = match (why, &job) {
            (Refusal::Expired(waits_for), Some(job)) => {
                warn!(
                    method = flight.method,
                    id = flight.id,
                    ?waits_for,
                    "Its caller has given up before it could begin; it is not run."
                );
                job.too_late(waits_for, self.0.limits.max_concurrent)
            }
            (Refusal::Held(_), _) => held_up(flight, held(&self.disk_error())),
            (Refusal::Interrupted, _) => held_up(flight, INTERRUPTED.to_owned()),
            (Refusal::Operation(operation), _) => {
                let failure = self.in_the_way(operation);
                let (method, id, reason) =
                    (flight.method.as_str(), flight.id.as_str(), failure.message.as_str());
                warn!(method, id, reason, "An operation is in its way; it is not run.");
                Ending::refused(failure)
            }
            _ => Ending::refused(refusal.unwrap_or_else(not_run)),
        };
        let ending = settled(flight, ending);
        if why == Refusal::Unacceptable
            && let Outcome::Failure(failure) = &ending.outcome
        {
            log_unacceptable(flight, failure);
            self.prepare_is_lost(flight, failure).await;
        }
        if let (
            Refusal::Expired(WaitsFor::Place) | Refusal::NotStored,
            Some(job),
            Outcome::Failure(failure),
        ) = (why, &job, &ending.outcome)
        {
            job.command.on_failure(&self.0.guest, &job.id, &failure.message).await;
        }
        self.finish(flight, ending).await;
    }

    /// Rejects a message that is no request, or that contains parts of an earlier message. It is acknowledged
    /// first and answered at most once.
    pub(super) async fn reject(&self, flight: &InFlight, forged: bool) {
        let Some(source_ref) = &flight.source_ref else { return };
        let (refusal, responder, entry) = {
            let mut state = flight.state();
            (state.refusal.take(), state.responder.take(), state.entry.take())
        };
        let (failure, responder) = if forged {
            let (id, method) = (flight.id.as_str(), flight.method.as_str());
            warn!(id, method, "Message rejected: it contains parts of an earlier message (possible replay).");
            (replayed(), Some(Responder::new(None, Context::default())))
        } else {
            (refusal.unwrap_or_else(not_run), responder)
        };
        let publications = responder
            .map(|responder| responder.answer(&Outcome::Failure(failure.clone()), source_ref.encoder()))
            .unwrap_or_default();
        // With a key, a sender that cannot encrypt a whole message must not be able to end an instance's
        // creation.
        let credible = is_credible(source_ref);
        if credible {
            self.prepare_is_lost(flight, &failure).await;
        }
        if let Some(entry) = entry {
            self.0.command_log.close(entry, AuditOutcome::Refused(failure)).await;
        }
        reply_once(source_ref, &publications, credible).await;
    }

    /// Reports that a `prepare` was refused before it became a command.
    async fn prepare_is_lost(&self, flight: &InFlight, failure: &Failure) {
        if Method::from_name(&flight.method) != Some(Method::Prepare) {
            return;
        }
        let id = if flight.id.is_empty() { trove_couchdb_protocol::new_id() } else { flight.id.clone() };
        let reason = format!("prepare was refused: {}", failure.message);
        self.0.guest.lifecycle.refuse_prepare(&id, &reason).await;
    }
}

/// Answers a message that cannot run. If its sender may be forged (not `credible`), publishes only once,
/// without waiting for the queue that it names.
///
/// The message is acknowledged first: if the broker closes the connection over the answer, the message must
/// not be redelivered.
async fn reply_once(source_ref: &RequestSourceRef, answer: &[Publication], credible: bool) {
    source_ref.acknowledge().await;
    for publication in answer {
        if !credible {
            source_ref.try_publish(publication).await;
        } else if let Err(error) = source_ref.publish(publication).await {
            debug!(%error, "A refusal could not be delivered.");
        }
    }
}

fn log_unacceptable(flight: &InFlight, failure: &Failure) {
    let (method, id, reason) = (flight.method.as_str(), flight.id.as_str(), failure.message.as_str());
    if failure.is(FailureClass::Forbidden) {
        warn!(method, id, "A method for operators of this machine came from the broker; it is refused.");
    } else {
        warn!(method, id, reason, "A request is refused.");
    }
}

fn held_up(flight: &InFlight, reason: String) -> Ending {
    let (method, id) = (flight.method.as_str(), flight.id.as_str());
    warn!(method, id, reason, "An earlier command holds it up; it is not run.");
    Ending::refused(Failure::new(FailureClass::Busy, reason))
}

fn held(reason: &str) -> String {
    format!(
        "an earlier command on the same user or database, which came from the broker, has ended, and its outcome can't be \
         written to the agent's state directory ({reason}); until it can, or the broker has heard of it, nothing else is \
         done there: repair the directory and try again"
    )
}

pub(super) fn not_run() -> Failure {
    Failure::new(FailureClass::InternalError, "the command was not run; see the guest agent's log")
}

pub(super) fn no_seed(error: &std::io::Error) -> Failure {
    let text = format!(
        "a password can't be made up: its seed must be in the agent's state directory before it is shown, and that can't be \
         written ({error}); repair the directory, or give a password"
    );
    Failure::new(FailureClass::FilesystemError, text)
}

/// The failure for a message whose parts appeared in an earlier message.
fn replayed() -> Failure {
    Failure::new(FailureClass::Replayed, "the message contains parts of an earlier message; it is not run")
}
