//! Long commands are handed over to the disk, and hold their lock while no message waits for them.
//!
//! ```text
//! the command gets its lock -> HandOver -> on disk -> its message is answered and acknowledged
//!                                             |
//!                                             +-> the operation runs: Finished -> Write -> Reply -> Acknowledge
//! ```
//!
//! An operation goes through the same stages as a message of the broker, with the disk as its queue: at
//! startup, an agent is delivered every operation that was not acknowledged. Commands that conflict with an
//! operation are refused at once, because it may take hours.

use crate::{
    command::{Command, Stage},
    core::Core,
    event::{DeliveryId, HandedOver, Refusal, Scopes, Source},
};

impl<S: Scopes, V: Clone> Core<S, V> {
    /// The operation that works on the same user or database as a command.
    pub(crate) fn operation_in_the_way(&self, scopes: &S) -> Option<DeliveryId> {
        self.operations.iter().copied().find(|operation| self.order.conflicts(*operation, scopes))
    }

    /// The disk accepted a long command, or rejected it.
    pub(crate) fn handed_over(&mut self, delivery: DeliveryId, operation: Option<HandedOver<V>>) {
        if self.stage(delivery) != Some(Stage::HandingOver) {
            return;
        }
        let Some(HandedOver { operation, id, outcome }) = operation else {
            return self.refuse(delivery, Refusal::NotStored);
        };
        let behind = self.order.pass_on(delivery, operation);
        let mut again = false;
        if let Some(command) = self.commands.get_mut(&delivery) {
            (command.has_turn, command.has_begun) = (false, true);
            (command.outcome, command.succeeded) = (Some(outcome.clone()), true);
            again = command.again;
        }
        let works = Command::new(Source::Disk, id, Vec::new(), Stage::Waiting);
        self.by_id.insert(id, operation);
        self.commands.insert(operation, Command { again, changes: true, has_turn: true, ..works });
        self.operations.insert(operation);
        self.marks.hold(id, &[]);
        for one in behind {
            self.meets_operation(one, operation);
        }
        self.has_ended(delivery, outcome);
        if self.is_stopping {
            // The disk delivers it to the next agent.
            self.requeue(operation);
        } else {
            self.turn_comes(operation);
        }
    }

    /// An operation now holds the lock for which a command waits.
    fn meets_operation(&mut self, delivery: DeliveryId, operation: DeliveryId) {
        match self.stage(delivery) {
            Some(Stage::Left) => self.fetch(delivery),
            // A twin of a successful command gets the same answer.
            Some(Stage::Waiting) if !self.twin_succeeded(delivery) => {
                self.refuse(delivery, Refusal::Operation(operation));
            }
            _ => {}
        }
    }
}
