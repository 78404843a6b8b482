//! Passes events to the core, and carries out its actions.

use trove_couchdb_delivery::{Action, Answer, DeliveryId, Event, HandedOver, Kept, Source};

use crate::{
    monitor::{Attempt, CANCELLED, FAILED, REFUSED, Violation},
    scenario::Bits,
    step::Way,
    world::{State, Task, World},
};

/// The answer to a repeated command whose outcome is not known.
const CARRIED_OUT: u8 = 250;
/// The answer of an agent that stops.
const STOPPING: u8 = 251;

impl World {
    /// Passes an event to the core and starts the resulting actions.
    pub(crate) fn tell(&mut self, event: Event<Bits, u8>) -> Result<(), Violation> {
        let has_place = match &event {
            Event::Noted { delivery, .. } => Some(*delivery),
            _ => None,
        };
        let actions = self.state.core.as_mut().map(|core| core.handle(event)).unwrap_or_default();
        let places = actions.iter().filter_map(|action| match action {
            Action::NoteBeginning(delivery) | Action::Run { delivery, .. } => Some(*delivery),
            _ => None,
        });
        let places: Vec<DeliveryId> = places.filter(|delivery| Some(*delivery) != has_place).collect();
        self.start(actions)?;
        places.into_iter().try_for_each(|delivery| self.gets_its_place(delivery))
    }

    fn start(&mut self, actions: Vec<Action<u8>>) -> Result<(), Violation> {
        for action in actions {
            match action {
                Action::Known(_) => {}
                Action::Accept(delivery) => {
                    if let Some(flight) = self.state.flights.get(&delivery) {
                        let message = &self.scenario.messages[usize::from(flight.message)];
                        self.state.monitor.accepted(delivery, flight.message, message);
                    }
                }
                Action::Remember(marks) => self.state.marks.extend(marks),
                Action::Fetch(delivery) => {
                    self.state.left = self.state.left.filter(|(left, _)| *left != delivery);
                }
                Action::Leave(delivery) => {
                    let message = self.state.flights.get(&delivery).map(|flight| flight.message);
                    self.state.left = message.map(|message| (delivery, message));
                    self.requeue(delivery)?;
                }
                Action::Requeue(delivery) => self.requeue(delivery)?,
                // The command's requests are sent at once.
                Action::Run { delivery, again } => {
                    self.begin(delivery, again)?;
                    self.add(Action::Run { delivery, again });
                }
                // The command will not run, so no command can overtake it before the refusal is sent.
                Action::Refuse { delivery, why } => {
                    self.may_be_refused(delivery, why)?;
                    self.state.monitor.is_over(delivery);
                    self.add(Action::Refuse { delivery, why });
                }
                later => {
                    // The command has run under a different delivery.
                    if let Action::Reply { delivery, answer: Answer::Like(_) } = &later {
                        self.state.monitor.is_over(*delivery);
                    }
                    self.add(later);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, action: Action<u8>) {
        self.state.tasks.push(Task { action, published: false });
    }

    fn begin(&mut self, delivery: DeliveryId, again: bool) -> Result<(), Violation> {
        let Some(flight) = self.state.flights.get_mut(&delivery) else { return Ok(()) };
        let told_expired = flight.told_expired && !flight.has_begun;
        flight.has_begun = true;
        let message = &self.scenario.messages[usize::from(flight.message)];
        if message.has_secret && !self.state.disk.has_record(message.mark()) {
            return Err(format!("{} begins without its secret on the disk", message.name));
        }
        let doubtful = self.state.published_again | self.state.monitor.lost;
        // An operation may come from a message over the socket, of which the broker's copy knows nothing.
        let is_local = |one: &crate::scenario::Message| one.source == Source::Socket;
        let is_copy = match message.source {
            Source::Broker => message.is_forged(),
            Source::Socket | Source::Own => true,
            Source::Disk => self.scenario.messages.iter().any(is_local),
        };
        let may_be_a_copy = is_copy || doubtful & 1 << flight.message != 0;
        let at_the_end = self.state.is_stopping;
        let attempt = Attempt { told_expired, at_the_end, again, may_be_a_copy };
        self.state.monitor.runs(&self.scenario, delivery, flight.message, attempt)
    }

    fn requeue(&mut self, delivery: DeliveryId) -> Result<(), Violation> {
        self.state.monitor.is_over(delivery);
        let Some(flight) = self.state.flights.remove(&delivery) else { return Ok(()) };
        if flight.connection.is_some() {
            self.state.broker.requeue(delivery, self.state.monitor.expired);
            return Ok(());
        }
        let scenario = self.scenario.clone();
        let message = &scenario.messages[usize::from(flight.message)];
        if message.source == Source::Disk {
            // The disk has the command and delivers it to the next agent.
            return Ok(());
        }
        self.state.monitor.answered(message, flight.message, STOPPING)
    }

    pub(crate) fn carry(&mut self, number: u8, way: Way) -> Result<(), Violation> {
        let Task { action, published } = self.state.tasks.remove(usize::from(number));
        let well = way == Way::Well;
        match action {
            Action::NoteBeginning(delivery) => {
                let message = self.message_of(delivery).clone();
                if well {
                    self.state.disk.begin(&message);
                } else {
                    self.state.monitor.beginning_not_noted(message.id);
                }
                self.tell(Event::Noted { delivery, ready: well || !message.has_secret })
            }
            Action::HandOver(delivery) => self.hand_over(delivery, well),
            Action::Run { delivery, .. } if way == Way::FailsForNow => {
                self.state.monitor.has_paused(delivery);
                if let Some(flight) = self.state.flights.get_mut(&delivery) {
                    flight.has_failed = true;
                }
                self.tell(Event::Failed { delivery, effect: true })
            }
            Action::Run { delivery, .. } if way == Way::CutShort => self.tell(Event::CutShort(delivery)),
            Action::Run { delivery, .. } if way == Way::Panics => self.panics(delivery),
            Action::Run { delivery, .. } => {
                let id = self.message_of(delivery).id;
                self.finish(delivery, if well { id } else { FAILED + id }, well)
            }
            Action::Rest(delivery) => self.tell(Event::Rested(delivery)),
            Action::Refuse { delivery, .. } => {
                let id = self.message_of(delivery).id;
                self.finish(delivery, REFUSED + id, false)
            }
            Action::Write { delivery, id, kept } => self.write(delivery, id.0[0], kept, well),
            Action::Reply { delivery, answer } => self.reply(delivery, answer, published, way),
            Action::Acknowledge(delivery) => self.acknowledge(delivery, well),
            Action::Reject { delivery, .. } => {
                self.state.flights.remove(&delivery);
                if self.state.broker.is_connected {
                    self.state.broker.send_ack(delivery);
                }
                Ok(())
            }
            Action::Forget(id) => {
                // The tasks know the outcome even if the disk does not.
                if self.state.records.remove(&id.0[0]).is_some() {
                    let of_id = |one: &&crate::scenario::Message| one.mark() == id;
                    for message in self.scenario.messages.iter().filter(of_id) {
                        self.state.marks.extend(std::iter::once(id).chain(message.parts()));
                    }
                }
                if well {
                    self.state.disk.forget(id);
                } else {
                    self.state.monitor.record_stays(id.0[0]);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The outcome is unknown, and no guarantee holds for the command any more.
    fn panics(&mut self, delivery: DeliveryId) -> Result<(), Violation> {
        self.state.monitor.is_over(delivery);
        if let Some(flight) = self.state.flights.remove(&delivery) {
            let id = self.message(flight.message).id;
            self.state.monitor.is_given_up(id, flight.message);
            self.state.records.remove(&id);
            if flight.connection == Some(true) {
                self.state.broker.send_ack(delivery);
            }
        }
        self.tell(Event::Panicked(delivery))
    }

    fn hand_over(&mut self, delivery: DeliveryId, well: bool) -> Result<(), Violation> {
        let message = self.message_of(delivery).clone();
        let Some(number) = message.operation.filter(|_| well) else {
            return self.tell(Event::HandedOver { delivery, operation: None });
        };
        let outcome = message.id;
        self.state.disk.hand_over(&message, number, outcome);
        if let Some(flight) = self.state.flights.get_mut(&delivery) {
            flight.outcome = Some(outcome);
        }
        self.state.monitor.is_over(delivery);
        self.state.monitor.has_ended(&message, true);
        let operation = self.new_flight(number, None);
        let message = &self.scenario.messages[usize::from(number)];
        self.state.monitor.arrived(number);
        self.state.monitor.accepted(operation, number, message);
        let id = self.message(number).mark();
        self.tell(Event::HandedOver { delivery, operation: Some(HandedOver { operation, id, outcome }) })
    }

    pub(crate) fn message_of(&self, delivery: DeliveryId) -> &crate::scenario::Message {
        self.message(self.state.flights.get(&delivery).map_or(0, |flight| flight.message))
    }

    fn finish(&mut self, delivery: DeliveryId, outcome: u8, succeeded: bool) -> Result<(), Violation> {
        let number = self.state.flights.get(&delivery).map_or(0, |flight| flight.message);
        let is_operation = self.message(number).source == Source::Disk;
        let is_cancelled = is_operation && self.state.cancellations.entry(number).or_default().settle();
        let outcome = if is_cancelled { CANCELLED + self.message(number).id } else { outcome };
        let succeeded = succeeded && !is_cancelled;
        if let Some(flight) = self.state.flights.get_mut(&delivery) {
            flight.outcome = Some(outcome);
        }
        self.state.monitor.is_over(delivery);
        let has_begun = self.state.flights.get(&delivery).is_some_and(|flight| flight.has_begun);
        let message = self.message_of(delivery);
        if message.source == Source::Socket && has_begun && !succeeded {
            let id = message.id;
            self.state.monitor.failed_locally(id);
        }
        let message = self.message_of(delivery).clone();
        self.state.monitor.has_ended(&message, succeeded);
        self.tell(Event::Finished { delivery, outcome, succeeded })
    }

    fn write(&mut self, delivery: DeliveryId, id: u8, kept: Kept, well: bool) -> Result<(), Violation> {
        let State { disk, monitor, records, flights, .. } = &mut self.state;
        let messages = &self.scenario.messages;
        let lasts = |source| matches!(source, Source::Broker | Source::Disk);
        let message = messages.iter().find(|one| one.id == id && lasts(one.source));
        if kept == Kept::Mark {
            if flights
                .get(&delivery)
                .and_then(|flight| flight.outcome)
                .is_some_and(|outcome| outcome >= FAILED)
            {
                return Err(format!("command {id} leaves a mark although it failed"));
            }
            if well {
                disk.remember([crate::scenario::mark_of(id)]);
                monitor.mark_written(id);
            } else {
                monitor.mark_refused(id);
            }
        } else if let Some(message) = message {
            if kept == Kept::Outcome
                && let Some(outcome) = flights.get(&delivery).and_then(|flight| flight.outcome)
            {
                records.insert(id, outcome);
            }
            if !well {
                monitor.outcome_refused(id);
            } else if let Some(outcome) = records.remove(&id) {
                let number = messages.iter().position(|one| one.id == id).unwrap_or_default();
                let number = u8::try_from(number).unwrap_or_default();
                if disk.is_cancelled(number) && outcome < CANCELLED {
                    return Err(format!("{} was cancelled and ends otherwise", message.name));
                }
                match message.source {
                    Source::Disk => disk.end_operation(number, outcome),
                    _ => disk.end(message, outcome),
                }
                monitor.outcome_written(id);
            }
        }
        self.tell(Event::Written { delivery, stored: well })
    }

    fn reply(
        &mut self,
        delivery: DeliveryId,
        answer: Answer<u8>,
        published: bool,
        way: Way,
    ) -> Result<(), Violation> {
        let Some(flight) = self.state.flights.get(&delivery).cloned() else { return Ok(()) };
        let is_bus = self.answers_over_bus(&flight);
        if is_bus && (!self.state.broker.is_connected || way == Way::Blocked) {
            self.state.flights.remove(&delivery);
            self.state.monitor.answered_here &= !(1 << flight.message);
            return self.tell(Event::Replied { delivery, sent: false });
        }
        let scenario = self.scenario.clone();
        let message = &scenario.messages[usize::from(flight.message)];
        if !published && message.source != Source::Own {
            let content = match &answer {
                Answer::Own => flight.outcome.unwrap_or_default(),
                Answer::Like(outcome) | Answer::Recorded(outcome) => *outcome,
                Answer::CarriedOut => CARRIED_OUT,
            };
            self.is_not_answered_again(delivery, flight.message)?;
            self.may_be_answered(flight.message, &answer)?;
            self.state.monitor.answered(message, flight.message, content)?;
            if way == Way::Returned {
                self.state.monitor.gone |= 1 << flight.message;
                return self.tell(Event::Replied { delivery, sent: true });
            }
            // The state between publishing and confirmation matters only if a fault can still happen.
            if is_bus && self.state.faults > 0 {
                self.state.tasks.push(Task { action: Action::Reply { delivery, answer }, published: true });
                return Ok(());
            }
        }
        self.tell(Event::Replied { delivery, sent: true })
    }

    fn acknowledge(&mut self, delivery: DeliveryId, well: bool) -> Result<(), Violation> {
        let Some(flight) = self.state.flights.remove(&delivery) else { return Ok(()) };
        if self.message(flight.message).source == Source::Disk {
            self.end_is_on_the_disk(flight.message)?;
            if well {
                self.state.disk.operation_is_told(flight.message);
                self.state.monitor.settled |= 1 << self.message(flight.message).id;
            } else {
                self.state.monitor.told_in_vain |= 1 << flight.message;
                return self.tell(Event::Acknowledged { delivery, sent: false });
            }
        }
        let Some(connection) = flight.connection else {
            return self.tell(Event::Acknowledged { delivery, sent: true });
        };
        if !connection {
            return self.tell(Event::Acknowledged { delivery, sent: false });
        }
        let is_on_disk = self.state.disk.knows(self.message(flight.message).mark());
        self.state.monitor.acknowledged(&self.scenario, flight.message, is_on_disk)?;
        self.state.broker.send_ack(delivery);
        if self.state.faults == 0 {
            self.state.broker.take_ack();
        }
        self.tell(Event::Acknowledged { delivery, sent: true })
    }
}
