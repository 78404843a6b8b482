//! The guarantees that can be checked in a single state: which commands wait for what, and what is left over.

use trove_couchdb_delivery::{Action, Answer, DeliveryId, Kept, Refusal, Scopes, Source};

use crate::{
    monitor::{CANCELLED, Violation, has},
    scenario::Message,
    world::{State, Task, World},
};

/// The command that a task is about, while it is under way.
fn subject(action: &Action<u8>) -> Option<DeliveryId> {
    match action {
        Action::NoteBeginning(delivery)
        | Action::HandOver(delivery)
        | Action::Rest(delivery)
        | Action::Run { delivery, .. }
        | Action::Refuse { delivery, .. } => Some(*delivery),
        _ => None,
    }
}

impl World {
    /// No command waits for an operation, which may take hours; no local command waits for a disk that
    /// refuses writes.
    pub(crate) fn nobody_waits_in_vain(&self) -> Result<(), Violation> {
        let monitor = &self.state.monitor;
        let left = self.state.left.map(|(_, message)| message);
        let waiting = || monitor.waiting().chain(left).map(|number| self.message(number));
        for operation in monitor.under_way().map(|number| self.message(number)) {
            let meets =
                |one: &&Message| one.id != operation.id && one.scopes.conflicts_with(&operation.scopes);
            if operation.source == Source::Disk
                && let Some(one) = waiting().find(meets)
            {
                return Err(format!("{} waits for {}, which may take hours", one.name, operation.name));
            }
        }
        let unwritten = self.state.records.keys().filter(|id| !has(monitor.settled, **id));
        for id in unwritten {
            let held =
                self.scenario.messages.iter().filter(|one| one.id == *id && one.source != Source::Socket);
            for held in held {
                let meets = |one: &&Message| {
                    one.source == Source::Socket && one.id != *id && one.scopes.conflicts_with(&held.scopes)
                };
                if let Some(one) = waiting().find(meets) {
                    return Err(format!("{} waits for a disk that takes nothing", one.name));
                }
            }
        }
        self.everybody_waits_for_something()
    }

    /// A command that waits does so for an earlier one on the same things, or for a place.
    fn everybody_waits_for_something(&self) -> Result<(), Violation> {
        if self.state.is_stopping {
            return Ok(());
        }
        for (delivery, number) in self.waiting_for_others() {
            let message = self.message(number);
            if (message.is_long() || self.free_places() > 0) && !self.is_behind(delivery, number) {
                return Err(format!("{} waits for nothing", message.name));
            }
        }
        Ok(())
    }

    /// Accepted commands that have no task: others are in their way.
    fn waiting_for_others(&self) -> impl Iterator<Item = (DeliveryId, u8)> {
        let is_busy = |delivery| self.state.tasks.iter().any(|task| subject(&task.action) == Some(delivery));
        self.state.monitor.not_running().filter(move |(delivery, _)| !is_busy(*delivery))
    }

    /// Whether a command must wait for an earlier one on the same things.
    fn is_behind(&self, delivery: DeliveryId, number: u8) -> bool {
        let State { monitor, tasks, records, flights, left, .. } = &self.state;
        let conflicts = |other: u8| self.message(other).scopes.conflicts_with(&self.message(number).scopes);
        // Its outcome or its refusal is being written.
        let is_ending = |one: DeliveryId| {
            tasks.iter().any(|task| match task.action {
                Action::Refuse { delivery, .. } => delivery == one,
                Action::Write { delivery, kept, .. } => delivery == one && kept != Kept::OutcomeAgain,
                _ => false,
            })
        };
        // The disk refuses its outcome, and its message may come again.
        let mut unwritten = records.keys().filter(|id| !has(monitor.settled, **id));
        monitor.accepted_before(delivery).any(conflicts)
            || left.is_some_and(|(left, other)| left < delivery && conflicts(other))
            || flights.iter().any(|(one, flight)| conflicts(flight.message) && is_ending(*one))
            || unwritten.any(|id| self.of_id(*id).any(conflicts))
    }

    fn of_id(&self, id: u8) -> impl Iterator<Item = u8> {
        self.numbered().filter(move |(_, message)| message.id == id).map(|(number, _)| number)
    }

    fn free_places(&self) -> usize {
        let noted = |task: &&Task| matches!(task.action, Action::NoteBeginning(_));
        let taken = self.state.tasks.iter().filter(noted).count();
        let running = self.state.monitor.running().filter(|number| !self.message(*number).is_long()).count();
        self.scenario.places.saturating_sub(taken + running)
    }

    /// Places are given in the order of arrival.
    pub(crate) fn gets_its_place(&self, delivery: DeliveryId) -> Result<(), Violation> {
        if self.message_of(delivery).is_long() {
            return Ok(());
        }
        let mut earlier = self.waiting_for_others().filter(|(one, _)| *one < delivery);
        let is_ready = |(one, number): &(DeliveryId, u8)| {
            !self.message(*number).is_long() && !self.is_behind(*one, *number)
        };
        match earlier.find(is_ready) {
            Some((_, other)) => {
                let (name, other) = (self.name_of(delivery), self.message(other).name);
                Err(format!("{name} gets a place for which {other} waits longer"))
            }
            None => Ok(()),
        }
    }

    /// A record of an outcome is for the message that it is of; the end of an operation is reported once.
    pub(crate) fn may_be_answered(&self, number: u8, answer: &Answer<u8>) -> Result<(), Violation> {
        let message = self.message(number);
        if matches!(answer, Answer::Recorded(_)) && !self.state.disk.is_of(message) {
            return Err(format!(
                "{} is answered with the outcome of a message of which it has the id",
                message.name
            ));
        }
        if message.source == Source::Disk && self.state.disk.is_told(number) {
            return Err(format!("the end of {} is reported again", message.name));
        }
        Ok(())
    }

    /// A call whose waiting time only the broker knows begins at once or is requeued.
    pub(crate) fn begins_at_once(&self, delivery: DeliveryId) -> Result<(), Violation> {
        let begins = self.state.tasks.iter().any(|task| match task.action {
            Action::NoteBeginning(one) | Action::HandOver(one) | Action::Run { delivery: one, .. } => {
                one == delivery
            }
            _ => false,
        });
        if self.state.monitor.waits(delivery) && !begins {
            return Err(format!(
                "{} waits here, and nobody knows for how long already",
                self.name_of(delivery)
            ));
        }
        Ok(())
    }

    /// A command that has begun is not refused; an interrupted command blocks only changes from this machine.
    pub(crate) fn may_be_refused(&self, delivery: DeliveryId, why: Refusal) -> Result<(), Violation> {
        let Some(flight) = self.state.flights.get(&delivery) else { return Ok(()) };
        let message = self.message(flight.message);
        if flight.has_begun {
            return Err(format!("{} is refused although it has begun", message.name));
        }
        if why == Refusal::NotStored && message.source == Source::Disk {
            return Err(format!("{} is refused for the want of a disk that has it", message.name));
        }
        let is_local = matches!(message.source, Source::Socket | Source::Own);
        if why == Refusal::Interrupted && !(is_local && message.changes() && self.is_interrupted(message)) {
            return Err(format!("{} is refused because of what was interrupted", message.name));
        }
        Ok(())
    }

    /// Whether a command on the same things was interrupted, and the broker has not delivered it since.
    fn is_interrupted(&self, message: &Message) -> bool {
        let may_come = |one: &&Message| one.source == Source::Broker && self.has_broker();
        let mut open =
            self.scenario.messages.iter().filter(may_come).filter(|one| self.state.disk.is_open(one.mark()));
        open.any(|one| {
            one.scopes.conflicts_with(&message.scopes) && !has(self.state.monitor.came_back, one.id)
        })
    }

    /// An agent answers a message only once, as long as it remembers the message.
    pub(crate) fn is_not_answered_again(
        &mut self,
        delivery: DeliveryId,
        message: u8,
    ) -> Result<(), Violation> {
        let messages = &self.scenario.messages;
        // If a local process sent the command first, every delivery is answered.
        let same = messages.iter().filter(|one| one.id == messages[usize::from(message)].id).count();
        let remembers = self.scenario.endings >= messages.len() && same == 1;
        let Some(flight) = self.state.flights.get_mut(&delivery) else { return Ok(()) };
        let is_again = !std::mem::replace(&mut flight.is_answered, true);
        let is_bus = flight.connection.is_some();
        if is_bus && is_again && remembers && has(self.state.monitor.answered_here, message) {
            return Err(format!("{} is answered twice by the same agent", self.message(message).name));
        }
        Ok(())
    }

    /// The end of an operation is reported only after the disk has stored or refused it.
    pub(crate) fn end_is_on_the_disk(&self, operation: u8) -> Result<(), Violation> {
        let message = self.message(operation);
        if self.state.disk.end_of(operation).is_some() || self.state.records.contains_key(&message.id) {
            return Ok(());
        }
        Err(format!("{} is told and forgotten before its end is on the disk", message.name))
    }

    /// A cancellation that the disk has is one that the operation still follows.
    pub(crate) fn is_cancelled_in_time(&self, operation: u8) -> Result<(), Violation> {
        if self.state.disk.end_of(operation).is_some_and(|end| end < CANCELLED) {
            return Err(format!("{} is cancelled after its end", self.message(operation).name));
        }
        Ok(())
    }

    /// An agent that exits has finished or requeued everything.
    pub(crate) fn has_given_all_back(&self) -> Result<(), Violation> {
        match self.state.flights.values().next() {
            Some(flight) => {
                Err(format!("the agent exits and leaves {} as it is", self.message(flight.message).name))
            }
            None => Ok(()),
        }
    }

    /// The disk's record of a command is removed together with its message. If the agent is killed between
    /// the two, the outcome stays on the disk.
    pub(crate) fn no_record_stays(&self) -> Result<(), Violation> {
        let State { monitor, disk, .. } = &self.state;
        let all = &self.scenario.messages;
        for message in all.iter().filter(|message| message.source == Source::Broker) {
            let gone = monitor.gone | monitor.expired;
            let is_lost = self.of_id(message.id).any(|number| has(gone, number))
                || has(monitor.kept_records, message.id);
            let has_ended =
                disk.has_record(message.mark()) && has(monitor.ended_here, message.id) && !is_lost;
            if has_ended || (disk.is_open(message.mark()) && !has(monitor.kept_records, message.id)) {
                return Err(format!("the record of {} stays for ever", message.name));
            }
        }
        Ok(())
    }
}
