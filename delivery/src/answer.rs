//! Decides when an outcome is written, when it is answered, and when its message is acknowledged.

use crate::{
    command::{Repeat, Stage},
    core::Core,
    event::{Action, Answer, DeliveryId, Kept, Mark, Scopes, Source},
};

impl<S: Scopes, V: Clone> Core<S, V> {
    /// The command keeps its lock until its outcome is on disk: if the agent is killed before, the command
    /// runs again.
    pub(crate) fn finished(&mut self, delivery: DeliveryId, outcome: V, succeeded: bool) {
        match self.stage(delivery) {
            Some(Stage::Running) => self.free_place(delivery),
            Some(Stage::Refusing) => {}
            _ => return,
        }
        if let Some(command) = self.commands.get_mut(&delivery) {
            (command.outcome, command.succeeded) = (Some(outcome.clone()), succeeded);
        }
        self.has_ended(delivery, outcome);
    }

    /// The command has an outcome, which is written to disk if it must survive a restart.
    pub(crate) fn has_ended(&mut self, delivery: DeliveryId, outcome: V) {
        let Some(command) = self.commands.get_mut(&delivery) else { return };
        let id = command.id;
        if command.lasts() {
            command.stage = Stage::Writing;
            self.marks.record(id, &command.parts, outcome);
            self.act(Action::Write { delivery, id, kept: Kept::Outcome });
        } else if command.source == Source::Socket && command.changes && command.succeeded {
            command.stage = Stage::Writing;
            self.marks.remember([id]);
            self.act(Action::Write { delivery, id, kept: Kept::Mark });
        } else {
            self.release_turn(delivery);
            self.answer(delivery);
        }
    }

    pub(crate) fn written(&mut self, delivery: DeliveryId, stored: bool) {
        let Some(command) = self.commands.get_mut(&delivery) else { return };
        let (id, must_last) = (command.id, command.lasts());
        let again = Action::Write { delivery, id, kept: Kept::OutcomeAgain };
        if command.stage == Stage::Writing {
            if stored || !must_last {
                self.release_turn(delivery);
                return self.answer(delivery);
            }
            command.is_unwritten = true;
            self.held.insert(delivery);
            self.call_off();
            self.answer(delivery);
        } else if !command.is_unwritten {
            return;
        } else if stored {
            return self.is_safe(delivery);
        }
        if !self.is_stopping {
            self.act(again);
        }
    }

    /// The outcome is on disk, so the command can't run a second time.
    fn is_safe(&mut self, delivery: DeliveryId) {
        let Some(command) = self.commands.get_mut(&delivery) else { return };
        command.is_unwritten = false;
        let is_over = command.stage == Stage::Held;
        self.held.remove(&delivery);
        self.release_turn(delivery);
        if is_over {
            self.end(delivery);
        }
    }

    /// Answers a command, and all deliveries of the same command by another transport.
    fn answer(&mut self, delivery: DeliveryId) {
        let Some(command) = self.commands.get_mut(&delivery) else { return };
        command.stage = Stage::Answering;
        let outcome = command.outcome.clone();
        let others: Vec<DeliveryId> = {
            let repeats = &self.repeats;
            let is_same = |one: &DeliveryId| repeats.get(one).is_some_and(Repeat::is_same_message);
            let (same, others) = std::mem::take(&mut command.repeats).into_iter().partition(is_same);
            command.repeats = same;
            others
        };
        self.act(Action::Reply { delivery, answer: Answer::Own });
        for other in others {
            let answer = outcome.clone().map_or(Answer::CarriedOut, Answer::Like);
            self.act(Action::Reply { delivery: other, answer });
        }
    }

    pub(crate) fn replied(&mut self, delivery: DeliveryId, sent: bool) {
        if self.repeats.contains_key(&delivery) {
            if sent {
                self.act(Action::Acknowledge(delivery));
            } else {
                self.repeats.remove(&delivery);
            }
            return;
        }
        if self.stage(delivery) != Some(Stage::Answering) {
            return;
        }
        if !sent {
            // The broker redelivers the message to the next agent, which finds the recorded outcome.
            if let Some(command) = self.close(delivery) {
                self.requeue_repeats(command.repeats);
            }
            return;
        }
        let Some(command) = self.commands.get_mut(&delivery) else { return };
        command.stage = Stage::Acknowledging;
        let repeats = std::mem::take(&mut command.repeats);
        // Replays must be recognised: parts of a read or of a refused command could be used for a change in
        // another message.
        if !command.lasts() && !command.parts.is_empty() {
            let all = std::iter::once(command.id).chain(command.parts.iter().copied());
            let new = self.marks.remember(all);
            self.act(Action::Remember(new));
        }
        self.act(Action::Acknowledge(delivery));
        for repeat in repeats {
            self.act(Action::Acknowledge(repeat));
        }
    }

    pub(crate) fn acknowledged(&mut self, delivery: DeliveryId, sent: bool) {
        if let Some(repeat) = self.repeats.remove(&delivery) {
            if sent && repeat.is_same_message() {
                self.is_settled(repeat.id);
            }
            return;
        }
        let Some(command) = self.commands.get_mut(&delivery) else { return };
        if command.stage != Stage::Acknowledging {
            return;
        }
        let (id, source) = (command.id, command.source);
        command.stage = Stage::Held;
        if sent && source.comes_again() {
            self.is_settled(id);
        }
        if self.commands.get(&delivery).is_some_and(|command| !command.is_unwritten) {
            self.end(delivery);
        }
    }

    /// The message was acknowledged to the broker.
    fn is_settled(&mut self, id: Mark) {
        if self.marks.acknowledge(id) {
            self.act(Action::Forget(id));
        }
        if let Some(first) = self.by_id.get(&id).copied()
            && self.commands.get(&first).is_some_and(|command| command.is_unwritten)
        {
            self.is_safe(first);
        }
    }
}
