//! Operations: stores long commands on the disk, and resumes those that an earlier agent left.

use std::{io, sync::Arc, time::Duration};

use tracing::{info, warn};
use trove_couchdb_delivery::{DeliveryId, Event, HandedOver, Mark, Request, WaitsFor, Work};
use trove_couchdb_protocol::{
    Context, Disclosure, Failure, FailureClass, Fields, Outcome,
    trove::{Method, UserAction},
};

use super::{InFlight, Job, RequestPipeline, delivered, work_of};
use crate::{
    commands::{self, Arguments, Command, Scopes},
    operations::{End, NewOperation, Operation, OperationRecord, of_command},
    system::BootInstant,
    transport::rpc::{
        answer::Responder, command_log::CommandRecord, disk::OnDisk, outcomes::RecordedOutcome,
        replay::ReplayTags, source::RequestSourceRef,
    },
};

impl RequestPipeline {
    /// Stores a long command as an operation, which continues without its message.
    pub(super) async fn hand_over(&self, flight: &InFlight) {
        flight.waits_no_more();
        let Some(job) = flight.job() else { return };
        let delivery = flight.delivery;
        match self.write_down(flight, &job).await {
            Ok((operation, record)) => {
                let (next, id) = self.goes_on(flight, job, operation, &record);
                let outcome = RecordedOutcome::HandedOver(record.id);
                let operation = Some(HandedOver { operation: next, id, outcome });
                self.tell(Event::HandedOver { delivery, operation });
            }
            Err(refusal) => {
                flight.state().refusal = Some(refusal);
                self.tell(Event::HandedOver { delivery, operation: None });
            }
        }
    }

    async fn write_down(
        &self,
        flight: &InFlight,
        job: &Job,
    ) -> Result<(Operation, OperationRecord), Failure> {
        if job.is_too_late()
            && let Outcome::Failure(failure) =
                job.too_late(WaitsFor::Turn, self.0.limits.max_concurrent).outcome
        {
            return Err(failure);
        }
        let new = {
            let mut state = flight.state();
            let (Some(arguments), Some(entry), Some(responder)) =
                (state.arguments.take(), &state.entry, &state.responder)
            else {
                return Err(super::refuse::not_run());
            };
            NewOperation {
                id: of_command(&job.id),
                kind: job.command.name(),
                command_id: job.id.clone(),
                marks: flight.marks.seals().map(|seal| hex::encode(seal.0)).collect(),
                giver: entry.giver(),
                context: responder.context_to_keep(),
                tells_end: responder.is_to_cast(),
                about: job.command.about(),
                arguments: arguments.all,
                is_sealed: arguments.is_sealed,
            }
        };
        let operations = &self.0.guest.operations;
        let id = new.id.clone();
        let taken = operations.take_over(new).await;
        let gone = || io::Error::other("it is gone again");
        taken
            .and_then(|operation| operations.get(&id).ok_or_else(gone).map(|record| (operation, record)))
            .map_err(|error| not_written(&*job.command, &error))
    }

    /// Moves the state of the message to the operation, except for its answer.
    fn goes_on(
        &self,
        flight: &InFlight,
        job: Arc<Job>,
        operation: Operation,
        record: &OperationRecord,
    ) -> (DeliveryId, Mark) {
        info!(
            method = job.command.name(),
            id = job.id,
            operation = record.id.as_str(),
            "An operation begins."
        );
        let next = self.operation_flight(operation, record, &job.id);
        flight.goes_on_in(&next);
        {
            let (mut state, mut goes_on) = (flight.state(), next.state());
            (goes_on.job, goes_on.entry, goes_on.guard) = (Some(job), state.entry.take(), state.guard.take());
            goes_on.responder = Some(Responder::to_operation(record));
            state.handed_over = Some(record.id.clone());
            state.outcome = Some(Outcome::Success(record.id.as_str().into()));
            // After a cast, the operation itself reports its end.
            if state.responder.as_ref().is_some_and(Responder::is_to_cast) {
                state.responder = None;
            }
        }
        flight.drop_job();
        let (delivery, id) = (next.delivery, ReplayTags::of_operation(&record.id));
        self.shared().in_flight.insert(delivery, Arc::new(next));
        (delivery, id)
    }

    fn operation_flight(&self, operation: Operation, record: &OperationRecord, id: &str) -> InFlight {
        let marks = ReplayTags::from_seals(vec![ReplayTags::of_id(record.id.as_str())]);
        let bus = self.0.bus.get().map(Arc::clone);
        let source_ref: RequestSourceRef = Arc::new(OnDisk { operation, bus, source: record.giver.source });
        let delivery = self.shared().next();
        InFlight::new(delivery, Some(source_ref), id.to_owned(), record.kind.clone(), marks)
    }

    /// Resumes the operations of an earlier agent, before any other command may begin. Blocks while it reads
    /// some small files.
    pub(in crate::transport) fn resume_operations(&self, unfinished: &[Mark]) {
        let operations = &self.0.guest.operations;
        let goes_on = |record: &OperationRecord| unfinished.contains(&ReplayTags::of_operation(&record.id));
        for record in operations.all().into_iter().filter(goes_on) {
            let Some(operation) = operations.operation(&record.id) else { continue };
            let _about = crate::log::command_span(record.giver.request_id.as_deref()).entered();
            let flight = self.operation_flight(operation, &record, &record.command_id);
            let method = Method::from_name(&record.kind);
            let request = {
                let mut state = flight.state();
                state.entry = Some(CommandRecord::of_operation(&record, method));
                state.responder = Some(Responder::to_operation(&record));
                if record.end.is_some() {
                    // The core knows the outcome, which is only reported again.
                    Request::Run(known())
                } else {
                    match self.command_of(&record) {
                        Ok(command) => {
                            info!(
                                method = record.kind,
                                operation = record.id.as_str(),
                                step = record.step,
                                "An operation of an earlier agent goes on."
                            );
                            let retry_timeout = self.0.limits.prepare_patience;
                            let job = resumed(command, record.command_id.clone(), retry_timeout);
                            let request = Request::Run(work_of(&job, false));
                            state.job = Some(Arc::new(job));
                            request
                        }
                        Err(failure) => {
                            state.refusal = Some(failure);
                            Request::Refuse
                        }
                    }
                }
            };
            let event = Event::Delivered(delivered(&flight, &flight.marks, true, request));
            self.shared().in_flight.insert(flight.delivery, Arc::new(flight));
            self.tell(event);
        }
    }

    fn command_of(&self, record: &OperationRecord) -> Result<Box<dyn Command>, Failure> {
        let arguments = self.0.guest.operations.arguments(&record.id).map_err(|error| {
            let text = format!(
                "{} was interrupted when the agent ended, and can't go on: what it was asked for can't be read any more \
                 ({error}); give the command again",
                record.kind
            );
            Failure::new(FailureClass::FilesystemError, text)
        })?;
        let context = Context::new(record.context.clone());
        let disclosure = if record.is_sealed { Disclosure::Sealed } else { Disclosure::Open };
        let fields = Fields::of(&arguments, disclosure);
        let arguments = Arguments::new(fields, UserAction::of(&context));
        commands::decode(&record.kind, &arguments).map_err(|error| Failure::from(&error))
    }

    /// The operation with this mark.
    pub(super) fn operation_of(&self, mark: Mark) -> Option<Operation> {
        let operations = &self.0.guest.operations;
        let all = operations.all();
        let found = all.iter().find(|record| ReplayTags::of_operation(&record.id) == mark)?;
        operations.operation(&found.id)
    }

    /// The error for a command that conflicts with an operation.
    pub(super) fn in_the_way(&self, operation: DeliveryId) -> Failure {
        let flight = self.in_flight(operation);
        let record = flight.as_ref().and_then(|flight| flight.operation()?.record());
        let text = match record {
            Some(record) => format!(
                "operation {} ({}: {}) works on the same users or databases; wait for its end, or see trove-couchdb \
                 operation-show {} on the instance",
                record.id,
                record.kind,
                record.stand(),
                record.id
            ),
            None => {
                "an operation worked on the same users or databases and has just ended; try again".to_owned()
            }
        };
        Failure::new(FailureClass::Busy, text)
    }
}

/// How an operation has ended.
pub(super) fn end_of(outcome: Option<Outcome>) -> End {
    match outcome {
        Some(Outcome::Failure(failure)) if failure.is(FailureClass::OperationCancelled) => {
            End::Cancelled(failure)
        }
        Some(Outcome::Failure(failure)) => End::Failed(failure),
        Some(Outcome::Success(_)) | None => End::Succeeded,
    }
}

/// The failure of a cancelled operation.
pub(super) fn cancelled(operation: &Operation) -> Failure {
    let stand = operation.record().map(|record| format!(" ({}: {})", record.kind, record.stand()));
    let text = format!(
        "operation {}{} was cancelled by an operator of the instance; it may have taken effect in part",
        operation.id(),
        stand.unwrap_or_default()
    );
    warn!(operation = operation.id().as_str(), "An operation is cancelled.");
    Failure::new(FailureClass::OperationCancelled, text)
}

fn resumed(command: Box<dyn Command>, id: String, retry_timeout: Duration) -> Job {
    Job { command, id, redelivered: true, arrived: BootInstant::now(), retry_timeout, begin_within: None }
}

fn known() -> Work<Scopes> {
    Work { scopes: Scopes::default(), changes: true, needs_place: false, at_once: false, long: true }
}

fn not_written(command: &dyn Command, error: &io::Error) -> Failure {
    let text = format!(
        "{} may take long, so it must be in the agent's state directory before it begins, and that can't be written \
         ({error}); repair the directory and try again",
        command.name()
    );
    Failure::new(FailureClass::FilesystemError, text)
}
