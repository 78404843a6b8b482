//! Tells the core of events, and carries its actions out.

use trove_couchdb_delivery::{Action, Answer, DeliveryId, Event, Kept, Source};

use crate::{
    monitor::{Attempt, FAILED, Violation},
    scenario::Bits,
    step::Way,
    world::{State, Task, World},
};

/// The answer to whoever asks how an old command ended, when that is not known.
const CARRIED_OUT: u8 = 250;
/// The answer of an agent that ends.
const STOPPING: u8 = 251;
const REFUSED: u8 = FAILED + 50;

impl World {
    /// Tells the core, and begins to carry out what it asks for.
    pub(crate) fn tell(&mut self, event: Event<Bits, u8>) -> Result<(), Violation> {
        let actions = self.state.core.as_mut().map(|core| core.handle(event)).unwrap_or_default();
        for action in actions {
            match action {
                Action::Known(_) => {}
                Action::Accept(delivery) => {
                    if let Some(flight) = self.state.flights.get(&delivery) {
                        self.state.monitor.accepted(delivery, flight.message);
                    }
                }
                Action::Remember(marks) => self.state.marks.extend(marks),
                Action::Fetch(_) => self.state.left = None,
                Action::Leave(delivery) => {
                    self.state.left = Some(delivery);
                    self.requeue(delivery)?;
                }
                Action::Requeue(delivery) => self.requeue(delivery)?,
                // Its requests go out at once.
                Action::Run { delivery, again } => {
                    self.begin(delivery, again)?;
                    self.add(Action::Run { delivery, again });
                }
                later => {
                    // It has run under another delivery.
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
        let doubtful = self.state.published_again | self.state.monitor.gone;
        let may_be_a_copy = message.source != Source::Broker || doubtful & 1 << flight.message != 0;
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
            Action::Run { delivery, .. } if way == Way::FailsForNow => {
                self.state.monitor.has_paused(delivery);
                if let Some(flight) = self.state.flights.get_mut(&delivery) {
                    flight.has_failed = true;
                }
                self.tell(Event::Failed { delivery, effect: true })
            }
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
            Action::Acknowledge(delivery) => self.acknowledge(delivery),
            Action::Reject { delivery, .. } => {
                self.state.flights.remove(&delivery);
                if self.state.broker.is_connected {
                    self.state.broker.send_ack(delivery);
                }
                Ok(())
            }
            Action::Forget(id) => {
                // The tasks know how it ended even if the disk does not.
                if self.state.records.remove(&id.0[0]).is_some() {
                    let of_id = |one: &&crate::scenario::Message| one.mark() == id;
                    for message in self.scenario.messages.iter().filter(of_id) {
                        self.state.marks.extend(std::iter::once(id).chain(message.parts()));
                    }
                }
                self.state.disk.forget(id);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn message_of(&self, delivery: DeliveryId) -> &crate::scenario::Message {
        self.message(self.state.flights.get(&delivery).map_or(0, |flight| flight.message))
    }

    fn finish(&mut self, delivery: DeliveryId, outcome: u8, succeeded: bool) -> Result<(), Violation> {
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
        let message = messages.iter().find(|one| one.id == id && one.source == Source::Broker);
        if kept == Kept::Mark {
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
                disk.end(message, outcome);
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
        if flight.connection.is_some() && (!self.state.broker.is_connected || way == Way::Blocked) {
            self.state.flights.remove(&delivery);
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
            self.state.monitor.answered(message, flight.message, content)?;
            // Between the two, only a fault makes a difference.
            if flight.connection.is_some() && self.state.faults > 0 {
                self.state.tasks.push(Task { action: Action::Reply { delivery, answer }, published: true });
                return Ok(());
            }
        }
        self.tell(Event::Replied { delivery, sent: true })
    }

    fn acknowledge(&mut self, delivery: DeliveryId) -> Result<(), Violation> {
        let Some(flight) = self.state.flights.remove(&delivery) else { return Ok(()) };
        let Some(connection) = flight.connection else {
            return self.tell(Event::Acknowledged { delivery, sent: true });
        };
        if !connection {
            return self.tell(Event::Acknowledged { delivery, sent: false });
        }
        let scenario = self.scenario.clone();
        let message = &scenario.messages[usize::from(flight.message)];
        let is_on_disk = self.state.disk.knows(message.mark());
        self.state.monitor.acknowledged(message, flight.message, is_on_disk)?;
        self.state.broker.send_ack(delivery);
        if self.state.faults == 0 {
            self.state.broker.take_ack();
        }
        self.tell(Event::Acknowledged { delivery, sent: true })
    }
}
