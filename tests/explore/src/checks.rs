//! The guarantees that can be checked in a single state: which commands wait for what, and what is left over.

use trove_couchdb_delivery::{Action, DeliveryId, Refusal, Scopes, Source};

use crate::{
    model::{Model, State},
    monitor::{Violation, has},
    scenario::Message,
};

impl Model {
    /// No command waits for an operation, which may take hours; no local command waits for a disk that
    /// refuses writes.
    pub(crate) fn no_caller_waits_in_vain(&self) -> Result<(), Violation> {
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
        let unwritten = self.state.records.keys().filter(|id| !has(monitor.loose, **id));
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
        if self.state.monitor.is_waiting(delivery) && !begins {
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
        if why == Refusal::Interrupted && !(is_local && message.changes()) {
            return Err(format!("{} is refused because of what was interrupted", message.name));
        }
        Ok(())
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
        let is_from_broker = flight.connection.is_some();
        if is_from_broker && is_again && remembers && has(self.state.monitor.answered_here, message) {
            return Err(format!("{} is answered twice by the same agent", self.message(message).name));
        }
        Ok(())
    }

    /// The end of an operation is reported only after the disk has stored or refused it.
    pub(crate) fn end_is_on_the_disk(&self, operation: u8) -> Result<(), Violation> {
        let message = self.message(operation);
        if self.state.disk.has_end(operation) || self.state.records.contains_key(&message.id) {
            return Ok(());
        }
        Err(format!("{} is told and forgotten before its end is on the disk", message.name))
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
        let numbered = (0..).zip(&self.scenario.messages);
        for (number, message) in numbered.filter(|(_, message)| message.source == Source::Broker) {
            let is_lost = has(monitor.gone | monitor.expired, number);
            let has_ended = disk.has_record(message.tag()) && has(monitor.ended_here, message.id) && !is_lost;
            if has_ended || disk.is_open(message.tag()) {
                return Err(format!("the record of {} stays for ever", message.name));
            }
        }
        Ok(())
    }
}
