//! The facts that the model reports: what was accepted, has ended, was refused by the disk or lost.

use trove_couchdb_delivery::{DeliveryId, Source};

use super::{Monitor, has};
use crate::scenario::{Message, Scenario};

impl Monitor {
    pub(crate) fn accepted(&mut self, delivery: DeliveryId, number: u8, message: &Message) {
        self.waiting.insert(delivery, number);
        if message.source == Source::Broker {
            self.came_back |= 1 << message.id;
        }
    }

    pub(crate) fn arrived(&mut self, message: u8) {
        self.seen |= 1 << message;
    }

    /// The command has ended or is requeued, and blocks no other command.
    pub(crate) fn is_over(&mut self, delivery: DeliveryId) {
        self.waiting.remove(&delivery);
        self.running.remove(&delivery);
    }

    /// The command has ended, and the agent knows the outcome.
    pub(crate) fn has_ended(&mut self, message: &Message, succeeded: bool) {
        let lasts = matches!(message.source, Source::Broker | Source::Disk);
        if message.changes() && (succeeded || lasts) {
            self.ended_here |= 1 << message.id;
        }
    }

    pub(crate) fn has_paused(&mut self, delivery: DeliveryId) {
        self.running.remove(&delivery);
    }

    pub(crate) fn is_answered(&self, number: u8) -> bool {
        has(self.answered, number)
    }

    /// A command failed for a local process. A broker message with the same id counts as a new command.
    pub(crate) fn failed_locally(&mut self, id: u8) {
        self.ran &= !(1 << id);
        self.overtaken &= !(1 << id);
        self.first_runs.retain(|one| *one != id);
        self.is_half_done = true;
    }

    /// The command's task panicked.
    pub(crate) fn is_given_up(&mut self, id: u8, number: u8) {
        self.gone |= 1 << number;
        self.loose |= 1 << id;
        self.panicked |= 1 << id;
    }

    /// Accepted commands that are not running.
    pub(crate) fn not_running(&self) -> impl Iterator<Item = (DeliveryId, u8)> {
        let waits = |(delivery, _): &(&DeliveryId, &u8)| !self.running.contains_key(*delivery);
        self.waiting.iter().filter(waits).map(|(delivery, number)| (*delivery, *number))
    }

    pub(crate) fn accepted_before(&self, delivery: DeliveryId) -> impl Iterator<Item = u8> {
        self.waiting.range(..delivery).map(|(_, number)| *number)
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = u8> {
        self.running.values().copied()
    }

    /// Accepted commands that have not begun.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = u8> {
        self.not_running().map(|(_, number)| number)
    }

    /// Accepted commands that have not ended.
    pub(crate) fn under_way(&self) -> impl Iterator<Item = u8> {
        self.waiting.values().copied()
    }

    pub(crate) fn waits(&self, delivery: DeliveryId) -> bool {
        self.waiting.contains_key(&delivery)
    }

    /// The disk has refused the record that the command begins.
    pub(crate) fn beginning_not_noted(&mut self, id: u8) {
        self.unnoted |= 1 << id;
    }

    pub(crate) fn outcome_refused(&mut self, id: u8) {
        self.unwritten |= 1 << id;
        self.refused_once |= 1 << id;
    }

    pub(crate) fn outcome_written(&mut self, id: u8) {
        self.unwritten &= !(1 << id);
    }

    /// The disk has refused the mark of a local command, and knows nothing of the command after a crash.
    pub(crate) fn mark_refused(&mut self, id: u8) {
        self.unmarked |= 1 << id;
        self.refused_once |= 1 << id;
        self.loose |= 1 << id;
    }

    /// The record of a message or an operation is unreadable: its command may run again, and an operation
    /// may be lost.
    pub(crate) fn record_torn(&mut self, scenario: &Scenario, number: u8) {
        let message = &scenario.messages[usize::from(number)];
        self.unnoted |= 1 << message.id;
        // A message and the operation that it becomes are known by each other's records.
        for (other, one) in (0..).zip(&scenario.messages) {
            if other == number || message.operation == Some(other) || one.operation == Some(number) {
                self.refused_once |= 1 << one.id;
                self.loose |= 1 << one.id;
            }
        }
        if message.source == Source::Disk {
            self.gone |= 1 << number;
        }
    }

    /// The disk has refused to remove the record of a command.
    pub(crate) fn record_stays(&mut self, id: u8) {
        self.kept_records |= 1 << id;
    }

    /// The disk has the mark of a local command.
    pub(crate) fn mark_written(&mut self, id: u8) {
        self.ran_locally &= !(1 << id);
        self.marked |= 1 << id;
    }
}
