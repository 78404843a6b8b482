//! From a request that can run to its acknowledgement.

use futures_util::FutureExt;
use tracing::{Instrument, debug, warn};
use trove_couchdb_protocol::{Failure, FailureClass, Outcome, Seal};

use super::{Intake, Running};
use crate::{
    audit::Verdict,
    dispatch::Done,
    trace,
    transport::{
        accept::{Accepted, with_beats},
        answer::Responder,
        dedupe::{Answer, Repeat, Summary, undelivered},
        ledger::Entry,
        origin::{Origin, Way, stopping},
        outcomes::RecordedOutcome,
        publisher::Undeliverable,
        replay::{Marks, UnderWay},
    },
};

impl Intake {
    pub(super) async fn run(self, command: Running, responder: Responder, origin: Origin, entry: Entry) {
        let Running { accepted: Accepted { mut job, beat }, mut turn, ticket, under_way, mark, changes } =
            command;
        if let (Some(under_way), Some(changes)) = (&under_way, changes) {
            under_way.begin(changes).await;
        }
        let seed = match under_way.as_ref().filter(|_| job.command.generates_a_password()) {
            Some(under_way) => under_way.seed().await.map(Some),
            None => Ok(None),
        };
        let done = match seed {
            Ok(seed) => {
                job.seed = seed.unwrap_or(job.seed);
                let run = self.dispatcher.run(&mut turn, &job).boxed();
                match beat {
                    Some(every) => with_beats(run, every, &responder, &origin).await,
                    None => run.await,
                }
            }
            Err(error) => Done::Refused(no_seed(&error)),
        };
        let (outcome, verdict) = match done {
            Done::Answer(Outcome::Success(value)) => (Outcome::Success(value), Verdict::Ok),
            Done::Answer(Outcome::Failure(failure)) => {
                (Outcome::Failure(failure.clone()), Verdict::Failed(failure))
            }
            Done::Refused(failure) => (Outcome::Failure(failure.clone()), Verdict::Refused(failure)),
            Done::HandBack { begun } => {
                drop(ticket);
                if let Some(mark) = mark.filter(|_| !begun) {
                    self.receipts.acknowledged(mark).await;
                }
                if origin.way() == Way::Local {
                    self.ledger.close(entry, Verdict::Refused(stopping())).await;
                }
                origin.hand_back(responder).await;
                return;
            }
        };
        self.ledger.close(entry, verdict).await;
        let recorded = match &under_way {
            Some(under_way) => under_way.record(RecordedOutcome::of(&outcome)).await,
            None => Ok(()),
        };
        let summary = Summary::of(&outcome);
        let answer = ticket.finish(responder.answer(&outcome, origin.pen()), origin.way(), summary);
        // It takes several times the memory of the answer, which may wait for the broker.
        drop(outcome);
        let delivering = self.deliver(answer, &origin, under_way.as_ref(), mark).instrument(trace::answer());
        match (recorded, &under_way) {
            // It can't run a second time any more, whatever happens to its connection: the next one may run.
            (Ok(()), _) | (_, None) => {
                drop(turn);
                delivering.await;
            }
            (Err(error), Some(under_way)) => {
                let reason = error.to_string();
                warn!(reason, "The outcome of a command can't be written down: those behind it wait.");
                turn.hold(&reason);
                let until_safe = async {
                    tokio::select! {
                        () = under_way.until_safe() => {}
                        () = self.dispatcher.stopping() => {}
                    }
                    drop(turn);
                };
                tokio::join!(delivering, until_safe);
            }
        }
    }

    pub(super) fn repeated(
        self,
        repeat: Repeat,
        responder: Responder,
        origin: Origin,
        id: &str,
    ) -> impl Future<Output = ()> + use<> {
        let mark = (origin.way() == Way::Bus).then(|| Marks::of_id(id));
        async move {
            match repeat.finished().await {
                // One message that the bus delivered twice: answered by whoever gets through first.
                Some(finished) if finished.way == Way::Bus && origin.way() == Way::Bus => {
                    self.deliver(finished.answer, &origin, None, mark).await;
                }
                // Who sent it this time waits elsewhere than who sent it first.
                Some(finished) => {
                    let publications = responder.answer(&finished.summary.into(), origin.pen());
                    self.deliver(undelivered(publications), &origin, None, None).await;
                }
                None => origin.hand_back(responder).await,
            }
        }
    }

    /// Publishes an answer that nobody has published yet, then acknowledges the command.
    pub(super) async fn deliver(
        &self,
        answer: Answer,
        origin: &Origin,
        under_way: Option<&UnderWay>,
        mark: Option<Seal>,
    ) {
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
            under_way.answered().await;
        }
        // Not before: a second delivery waits for this, and would be acknowledged although its parts are not known yet.
        drop(undelivered);
        if let (true, Some(mark)) = (origin.acknowledge().await, mark) {
            self.receipts.acknowledged(mark).await;
        }
    }
}

fn no_seed(error: &std::io::Error) -> Failure {
    let text = format!(
        "a password can't be made up: its seed must be in the agent's state directory before it is shown, and that can't be \
         written ({error}); repair the directory, or give a password"
    );
    Failure::new(FailureClass::FilesystemError, text)
}
