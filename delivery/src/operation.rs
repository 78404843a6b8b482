//! Long commands: handed over to the disk, they hold what they work on without a message that waits.
//!
//! ```text
//! its turn comes -> HandOver -> the disk has it -> its message is answered and acknowledged
//!                                    |
//!                                    +-> the operation runs, from the disk: Finished -> Write -> Reply -> Acknowledge
//! ```
//!
//! An operation goes through the same stages as a message of the broker, and the disk is its queue: an agent that starts is
//! delivered every operation whose end was not acknowledged. Whatever conflicts with one is refused at once, as it may take
//! hours.

use crate::{
    command::{Command, Stage},
    core::Core,
    event::{DeliveryId, HandedOver, Refusal, Scopes, Source},
};

impl<S: Scopes, V: Clone> Core<S, V> {
    /// The operation that works on what a command is about.
    pub(crate) fn operation_in_the_way(&self, scopes: &S) -> Option<DeliveryId> {
        self.operations.iter().copied().find(|operation| self.order.conflicts(*operation, scopes))
    }

    /// The disk has taken a long command, or not.
    pub(crate) fn handed_over(&mut self, delivery: DeliveryId, operation: Option<HandedOver<V>>) {
        if self.stage(delivery) != Some(Stage::HandingOver) {
            return;
        }
        let Some(HandedOver { operation, id, outcome }) = operation else {
            if self.is_stopping {
                return self.requeue(delivery);
            }
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

    /// A command that waited for its turn finds out that an operation has it.
    fn meets_operation(&mut self, delivery: DeliveryId, operation: DeliveryId) {
        match self.stage(delivery) {
            Some(Stage::Left) => self.fetch(delivery),
            // The same command, sent another way, is answered like it.
            Some(Stage::Waiting) if !self.twin_succeeded(delivery) => {
                self.refuse(delivery, Refusal::Operation(operation));
            }
            _ => {}
        }
    }
}
