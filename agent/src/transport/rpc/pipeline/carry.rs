//! Carries out the core's actions, one task for each, and reports the results to the core.

use std::{sync::Arc, time::Duration};

use tokio::time;
use tracing::{Instrument, debug, warn};
use trove_couchdb_delivery::{Action, Answer, DeliveryId, Durable, Event, ReplayTag};
use trove_couchdb_protocol::Outcome;

use super::{InFlight, RequestPipeline, hand_over::end_of, in_flight::seal_of};
use crate::{
    audit::AuditOutcome,
    commands::Changes,
    trace,
    transport::rpc::{
        answer::{Publication, Responder},
        outcomes::{RecordedOutcome, already_done},
        replay,
        source::{RequestSourceRef, RequestTransport, Undeliverable, stopping},
    },
};

/// The delay between attempts to store an outcome.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl RequestPipeline {
    pub(super) fn carry_all(&self, actions: Vec<Action<RecordedOutcome>>) {
        for action in actions {
            self.carry(action);
        }
    }

    fn carry(&self, action: Action<RecordedOutcome>) {
        let this = self.clone();
        match action {
            Action::Accept(delivery) => self.with(delivery, |flight| self.is_accepted(flight)),
            Action::Known(delivery) => self.with(delivery, |flight| {
                debug!(id = flight.id, "A message came again.");
                self.0.command_log.came_again();
            }),
            Action::NoteBeginning(delivery) => {
                self.spawn_for(delivery, async move |flight| this.note_beginning(&flight).await);
            }
            Action::HandOver(delivery) => {
                self.spawn_for(delivery, async move |flight| this.hand_over(&flight).await);
            }
            Action::Run { delivery, again } => {
                self.spawn_for(delivery, async move |flight| this.run(&flight, again).await);
            }
            Action::Rest(delivery) => {
                self.spawn_for(delivery, async move |flight| this.rest(&flight).await);
            }
            Action::Refuse { delivery, why } => {
                self.with(delivery, |flight| flight.is_new());
                self.spawn_for(delivery, async move |flight| this.refuse(&flight, why).await);
            }
            Action::Write { delivery, id, durable } => self.write(delivery, id, durable),
            Action::Reply { delivery, answer } => {
                let reply = async move |flight: Arc<InFlight>| {
                    let replying = this.reply(&flight, answer).instrument(trace::answer());
                    let sent = replying.await;
                    if !sent {
                        this.take_out(delivery);
                    }
                    this.tell(Event::Replied { delivery, sent });
                };
                self.spawn_for(delivery, reply);
            }
            Action::Acknowledge(delivery) => {
                let acknowledge = async move |flight: Arc<InFlight>| {
                    let sent = match &flight.source_ref {
                        Some(source_ref) => source_ref.acknowledge().await,
                        None => true,
                    };
                    this.take_out(delivery);
                    if let Some(over) = flight.state().over.take() {
                        // The receiver may be gone.
                        let _told = over.send(());
                    }
                    this.tell(Event::Acknowledged { delivery, sent });
                };
                self.spawn_for(delivery, acknowledge);
            }
            Action::Requeue(delivery) => {
                if let Some(flight) = self.take_out(delivery) {
                    let requeued = Arc::clone(&flight);
                    self.spawn(&flight, async move { this.requeue(&requeued).await });
                }
            }
            // The caller that took the message returns it to the broker.
            Action::Leave(delivery) => drop(self.take_out(delivery)),
            Action::Reject { delivery, forged } => {
                if let Some(flight) = self.take_out(delivery) {
                    flight.is_new();
                    let rejected = Arc::clone(&flight);
                    self.spawn(&flight, async move { this.reject(&rejected, forged).await });
                }
            }
            Action::Forget(id) => {
                self.0.tasks.spawn(async move { this.0.records.forget(seal_of(id)).await });
            }
            Action::Remember(tags) => {
                if self.0.records.remember(tags.into_iter().map(seal_of)) {
                    self.0.tasks.spawn(async move { replay::tell(Ok(this.0.records.write_tags().await)) });
                }
            }
            Action::Fetch(delivery) => {
                if let Some(could) = self.shared().left.remove(&delivery) {
                    // The receiver may be gone.
                    let _told = could.send(());
                }
            }
        }
    }

    fn with(&self, delivery: DeliveryId, then: impl FnOnce(&Arc<InFlight>)) {
        if let Some(flight) = self.in_flight(delivery) {
            flight.about.in_scope(|| then(&flight));
        }
    }

    fn spawn_for<F>(&self, delivery: DeliveryId, task: impl FnOnce(Arc<InFlight>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(flight) = self.in_flight(delivery) {
            let task = task(Arc::clone(&flight));
            self.spawn(&flight, task);
        }
    }

    /// Prepares a new command, which waits for its lock from now on.
    fn is_accepted(&self, flight: &Arc<InFlight>) {
        let Some(job) = flight.job() else { return };
        flight.is_new();
        flight.starts_waiting();
        let guard = job.command.is_counted().then(|| self.0.command_log.counters.enter());
        let beat = {
            let mut state = flight.state();
            if let Some(entry) = &mut state.entry {
                entry.is_for(&*job.command, Changes::of(&*job.command));
            }
            state.guard = guard;
            state.beat
        };
        if let Some(within) = job.begin_within {
            let over = flight.until(|state| &mut state.deadline);
            let (this, delivery, arrived) = (self.clone(), flight.delivery, job.arrived);
            // Not counted in `tasks`: the agent does not wait for it.
            tokio::spawn(async move {
                tokio::select! {
                    () = over.cancelled() => {}
                    () = time::sleep(within.saturating_sub(arrived.elapsed())) => {
                        this.tell(Event::Expired(delivery));
                    }
                }
            });
        }
        if let Some(every) = beat {
            keep_beating(flight, every);
        }
    }

    async fn note_beginning(&self, flight: &InFlight) {
        flight.stops_waiting();
        let Some(job) = flight.job() else { return };
        let mut ready = true;
        if let Some(changes) = Changes::of(&*job.command)
            && let Err(error) = self.0.records.begin(&flight.tags, changes).await
        {
            debug!(%error, "It can't be noted that a command begins.");
        }
        if job.command.generates_a_password() {
            match self.0.records.seed(&flight.tags).await {
                Ok(seed) => flight.state().seed = Some(seed),
                Err(error) => {
                    flight.state().refusal = Some(super::refuse::no_seed(&error));
                    ready = false;
                }
            }
        }
        if job.is_too_late() {
            self.tell(Event::Expired(flight.delivery));
        }
        self.tell(Event::Noted { delivery: flight.delivery, ready });
    }

    fn write(&self, delivery: DeliveryId, id: ReplayTag, durable: Durable) {
        let this = self.clone();
        let flight = self.in_flight(delivery);
        let write = async move {
            let records = &this.0.records;
            let written = match (durable, &flight) {
                (Durable::Outcome, Some(flight)) => {
                    let outcome = flight.state().outcome.clone();
                    let recorded = flight.recorded();
                    match (flight.operation(), recorded) {
                        (Some(operation), _) => operation.end(end_of(outcome)).await,
                        (None, Some(recorded)) => records.end(&flight.tags, recorded).await,
                        (None, None) => Ok(()),
                    }
                }
                (Durable::Outcome | Durable::OutcomeAgain, _) => {
                    tokio::select! {
                        () = time::sleep(TRY_AGAIN) => {}
                        // The broker redelivers the message to the next agent.
                        () = this.0.stopping.cancelled() => return,
                    }
                    match this.operation_of(id) {
                        Some(operation) => operation.save().await,
                        None => records.save(seal_of(id)).await,
                    }
                }
                (Durable::Tag, _) => {
                    records.remember([seal_of(id)]);
                    records.write_tags().await
                }
            };
            let stored = written.is_ok();
            if let Err(error) = written {
                let reason = error.to_string();
                match durable {
                    Durable::Outcome => {
                        warn!(
                            reason,
                            "The outcome of a command can't be written down: those behind it wait."
                        );
                    }
                    Durable::Tag => replay::tell(Ok(Err(error))),
                    Durable::OutcomeAgain => {}
                }
                *this.disk_error() = reason;
            }
            this.tell(Event::Written { delivery, stored });
        };
        match self.in_flight(delivery) {
            Some(flight) => self.spawn(&flight, write),
            None => drop(self.0.tasks.spawn(write)),
        }
    }

    /// Publishes an answer. False if the agent stops and the broker accepts nothing.
    async fn reply(&self, flight: &InFlight, answer: Answer<RecordedOutcome>) -> bool {
        let Some(source_ref) = &flight.source_ref else { return true };
        let publications = self.answer(flight, source_ref, answer);
        // The job takes several times the memory of the answer, which may have to wait for the broker.
        flight.drop_job();
        for publication in &publications {
            match source_ref.publish(publication).await {
                Ok(()) => {}
                Err(Undeliverable::QueueName) => warn!("A caller named a reply queue that can't exist."),
                Err(Undeliverable::Stopping) => {
                    debug!("An answer stays behind; its command is delivered again to the next agent.");
                    return false;
                }
            }
        }
        true
    }

    fn answer(
        &self,
        flight: &InFlight,
        source_ref: &RequestSourceRef,
        answer: Answer<RecordedOutcome>,
    ) -> Vec<Publication> {
        // After a cast, the operation itself reports its end.
        let is_handed_over = matches!(
            answer,
            Answer::Recorded(RecordedOutcome::HandedOver(_)) | Answer::Like(RecordedOutcome::HandedOver(_))
        );
        let outcome = match answer {
            Answer::Own => flight.state().outcome.take(),
            Answer::AlreadyDone => Some(already_done()),
            Answer::Recorded(RecordedOutcome::Answered) => {
                let seed = flight.seal().and_then(|id| self.0.records.seed_of(id));
                let result = flight.job().and_then(|job| job.command.result_again(seed.as_ref()));
                Some(result.map_or_else(already_done, Outcome::Success))
            }
            Answer::Recorded(outcome) | Answer::Like(outcome) => Some(outcome.into()),
        };
        let responder = flight.state().responder.take();
        if is_handed_over && responder.as_ref().is_some_and(Responder::is_to_cast) {
            return Vec::new();
        }
        match (outcome, responder) {
            (Some(outcome), Some(responder)) => responder.answer(&outcome, source_ref.encoder()),
            _ => Vec::new(),
        }
    }

    /// Returns a command that was not run, or not to its end.
    async fn requeue(&self, flight: &InFlight) {
        let (entry, responder) = {
            let mut state = flight.state();
            (state.entry.take(), state.responder.take())
        };
        let Some(source_ref) = &flight.source_ref else { return };
        if let (RequestTransport::Local, Some(entry)) = (source_ref.transport(), entry) {
            self.0.command_log.close(entry, AuditOutcome::Refused(stopping())).await;
        }
        if let Some(responder) = responder {
            source_ref.requeue(responder).await;
        }
    }

    pub(super) fn disk_error(&self) -> std::sync::MutexGuard<'_, String> {
        self.0.disk_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Sends the caller call heartbeats while its command is in flight.
fn keep_beating(flight: &Arc<InFlight>, every: Duration) {
    let over = flight.until(|state| &mut state.beats);
    let of = Arc::downgrade(flight);
    let beats = async move {
        let mut ticks = time::interval_at(time::Instant::now() + every, every);
        loop {
            ticks.tick().await;
            let Some(flight) = of.upgrade() else { return };
            let beat = flight.state().responder.as_ref().and_then(Responder::beat);
            if let (Some(beat), Some(source_ref)) = (beat, &flight.source_ref) {
                source_ref.try_publish(&beat).await;
            }
        }
    };
    let beats = async move {
        tokio::select! {
            () = over.cancelled() => {}
            () = beats => {}
        }
    };
    tokio::spawn(beats.instrument(flight.about.clone()));
}
