//! The effect of a step on the world.

use trove_couchdb_delivery::{Core, Delivered, DeliveryId, Event, Request, Source, Work};

use crate::{
    monitor::Violation,
    step::Step,
    world::{Flight, State, World},
};

impl World {
    /// The world after a step.
    pub(crate) fn after(&self, step: Step) -> Result<Self, Violation> {
        let mut next = self.clone();
        if step.is_fault() {
            next.state.faults -= 1;
        }
        next.step(step)?;
        next.nobody_waits_in_vain()?;
        next.state.tasks.sort();
        Ok(next)
    }

    fn step(&mut self, step: Step) -> Result<(), Violation> {
        let expired = self.state.monitor.expired;
        match step {
            Step::Start => self.start_agent(),
            Step::Connect => {
                self.state.broker.connect();
                self.state.caught_up = false;
                Ok(())
            }
            Step::Carry(number, way) => self.carry(number, way),
            Step::Acknowledged => {
                self.state.broker.take_ack();
                Ok(())
            }
            Step::Deliver => self.deliver(),
            Step::PutBack => self.put_back(),
            Step::CaughtUp => {
                self.state.caught_up = true;
                self.tell(Event::CaughtUp)
            }
            Step::Publish => {
                if let Some(message) = self.next_to_publish() {
                    self.state.published = message + 1;
                    self.state.broker.publish(message);
                }
                Ok(())
            }
            Step::Send(number) => self.send(number),
            Step::Exit => {
                self.has_given_all_back()?;
                let marks = std::mem::take(&mut self.state.marks);
                self.state.disk.remember(marks);
                while self.state.broker.take_ack().is_some() {}
                self.process_ends();
                Ok(())
            }
            Step::GiveUp(number) => self.give_up(number),
            Step::Cancel(number) => {
                self.state.asked |= 1 << number;
                if self.state.cancellations.entry(number).or_default().ask() {
                    self.state.cancelling |= 1 << number;
                }
                Ok(())
            }
            Step::Cancelled(number) => {
                self.state.cancelling &= !(1 << number);
                self.state.disk.cancel_operation(number);
                self.is_cancelled_in_time(number)
            }
            Step::Kill | Step::GraceOver => {
                self.process_ends();
                Ok(())
            }
            Step::Tear(number) => {
                let message = self.message(number).clone();
                self.state.disk.tear(&message, number);
                self.state.monitor.record_torn(&self.scenario, number);
                self.process_ends();
                Ok(())
            }
            Step::Lose => {
                self.state.broker.disconnect(expired);
                self.connection_ended()
            }
            Step::CloseChannel => {
                self.republish();
                Ok(())
            }
            Step::Terminate => {
                self.state.is_stopping = true;
                self.tell(Event::Terminate)?;
                self.nothing_is_left()
            }
            Step::PublishAgain(number) => {
                self.state.published_again |= 1 << number;
                self.state.broker.publish(number);
                Ok(())
            }
            Step::LoseQueue => {
                let lost = self.state.broker.lose_queue();
                self.state.monitor.gone |= lost;
                self.state.monitor.lost |= lost;
                self.state.broker.disconnect(expired);
                self.connection_ended()
            }
        }
    }

    fn start_agent(&mut self) -> Result<(), Violation> {
        let mut resumed = self.state.disk.resumed(&self.scenario, self.has_broker());
        let unfinished = std::mem::take(&mut resumed.unfinished);
        self.state.core = Some(Core::new(self.limits(), resumed));
        for id in unfinished {
            let Some(operation) =
                self.numbered().find_map(|(number, one)| (one.mark() == id).then_some(number))
            else {
                continue;
            };
            if self.state.disk.is_cancelled(operation) {
                self.state.cancellations.entry(operation).or_default().ask();
            }
            let delivery = self.new_flight(operation, None);
            self.arrive(delivery, operation, true)?;
        }
        Ok(())
    }

    fn process_ends(&mut self) {
        let State {
            core,
            tasks,
            flights,
            left,
            is_stopping,
            last_came,
            marks,
            records,
            broker,
            monitor,
            sent,
            cancellations,
            cancelling,
            ..
        } = &mut self.state;
        *core = None;
        tasks.clear();
        flights.clear();
        (*left, *is_stopping, *last_came) = (None, false, false);
        marks.clear();
        records.clear();
        cancellations.clear();
        *cancelling = 0;
        broker.disconnect(monitor.expired);
        monitor.process_ended(&self.scenario, *sent);
    }

    /// Unconfirmed answers are published again.
    fn republish(&mut self) {
        for task in &mut self.state.tasks {
            task.published = false;
        }
    }

    fn connection_ended(&mut self) -> Result<(), Violation> {
        self.republish();
        for flight in self.state.flights.values_mut() {
            flight.connection = flight.connection.and(Some(false));
        }
        self.nothing_is_left()
    }

    /// The agent no longer waits for the message that was left with the broker.
    fn nothing_is_left(&mut self) -> Result<(), Violation> {
        match self.state.left.take() {
            Some((left, _)) => self.tell(Event::Abandoned(left)),
            None => Ok(()),
        }
    }

    fn give_up(&mut self, number: u8) -> Result<(), Violation> {
        self.state.monitor.expired |= 1 << number;
        self.state.broker.expire(number);
        let of_message = |(_, flight): &(&DeliveryId, &mut Flight)| flight.message == number;
        let mut told = Vec::new();
        for (delivery, flight) in self.state.flights.iter_mut().filter(of_message) {
            flight.told_expired |= !flight.has_begun;
            told.push(*delivery);
        }
        if self.state.left.is_some_and(|(_, left)| left == number) {
            self.nothing_is_left()?;
        }
        told.into_iter().try_for_each(|delivery| self.tell(Event::Expired(delivery)))
    }

    pub(crate) fn new_flight(&mut self, message: u8, connection: Option<bool>) -> DeliveryId {
        let delivery = DeliveryId(self.state.next_delivery);
        self.state.next_delivery += 1;
        let flight = Flight {
            message,
            connection,
            outcome: None,
            has_begun: false,
            has_failed: false,
            told_expired: false,
            is_answered: false,
        };
        self.state.flights.insert(delivery, flight);
        delivery
    }

    fn deliver(&mut self) -> Result<(), Violation> {
        let Some(queued) = self.state.broker.hand_out(DeliveryId(self.state.next_delivery)) else {
            return Ok(());
        };
        self.state.last_came = self.state.is_stopping;
        let delivery = self.new_flight(queued.message, Some(true));
        self.arrive(delivery, queued.message, queued.redelivered)
    }

    fn put_back(&mut self) -> Result<(), Violation> {
        let delivery = DeliveryId(self.state.next_delivery);
        let Some(queued) = self.state.broker.hand_out(delivery) else { return Ok(()) };
        let id = self.message(queued.message).mark();
        self.state.monitor.arrived(queued.message);
        self.tell(Event::PutBack { id, redelivered: queued.redelivered })?;
        self.state.broker.requeue(delivery, self.state.monitor.expired);
        Ok(())
    }

    fn send(&mut self, number: u8) -> Result<(), Violation> {
        self.state.sent |= 1 << number;
        let delivery = self.new_flight(number, None);
        self.arrive(delivery, number, false)
    }

    fn arrive(&mut self, delivery: DeliveryId, number: u8, redelivered: bool) -> Result<(), Violation> {
        self.state.monitor.arrived(number);
        let message = self.message(number);
        if message.is_unreadable {
            return self.tell(Event::Unreadable(delivery));
        }
        let at_once = message.has_deadline && !self.state.caught_up;
        let request = if message.is_unacceptable {
            Request::Refuse
        } else {
            Request::Run(Work {
                scopes: message.scopes,
                changes: message.changes(),
                needs_place: true,
                at_once,
                long: message.operation.is_some() || message.source == Source::Disk,
            })
        };
        let (source, id, parts) = (message.source, message.mark(), message.parts());
        self.tell(Event::Delivered(Delivered { delivery, source, id, parts, redelivered, request }))?;
        if at_once { self.begins_at_once(delivery) } else { Ok(()) }
    }
}
