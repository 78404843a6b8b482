//! Decides when a command runs: its lock, its slot, its deadline, and the agent's shutdown.

use crate::{
    command::{Command, Stage},
    core::Core,
    event::{Action, Answer, DeliveryId, Refusal, Scopes, Source, WaitsFor},
};

impl<S: Scopes, V: Clone> Core<S, V> {
    /// The command gets its lock: no earlier command blocks it.
    pub(crate) fn turn_comes(&mut self, delivery: DeliveryId) {
        let Some(command) = self.commands.get_mut(&delivery) else { return };
        // During shutdown all waiting commands are requeued.
        if self.is_stopping || !matches!(command.stage, Stage::Left | Stage::Waiting) {
            return;
        }
        if command.needs_place {
            if command.stage == Stage::Waiting {
                command.stage = Stage::Ready;
            }
            self.ready.insert(delivery);
        } else {
            self.place_comes(delivery);
        }
    }

    /// Assigns free slots to waiting commands, in the order of their arrival.
    pub(crate) fn fill_places(&mut self) {
        while self.places > 0
            && let Some(delivery) = self.ready.pop_first()
        {
            if self.stage(delivery) != Some(Stage::Left) {
                self.places -= 1;
            }
            self.place_comes(delivery);
        }
    }

    fn place_comes(&mut self, delivery: DeliveryId) {
        if self.stage(delivery) == Some(Stage::Left) {
            return self.fetch(delivery);
        }
        if self.twin_succeeded(delivery) {
            return;
        }
        match self.commands.get(&delivery) {
            Some(command) if command.long => {
                self.set_stage(delivery, Stage::HandingOver);
                self.act(Action::HandOver(delivery));
            }
            // A command that a crash may interrupt is recorded before its first request. An operation is
            // already on disk.
            Some(command) if command.lasts() && !command.has_begun && command.source != Source::Disk => {
                self.set_stage(delivery, Stage::Noting { refused: None });
                self.act(Action::NoteBeginning(delivery));
            }
            Some(_) => self.run(delivery),
            None => {}
        }
    }

    /// If the same command from a local process has succeeded, this one is answered and does not run.
    pub(crate) fn twin_succeeded(&mut self, delivery: DeliveryId) -> bool {
        let Some((id, twin)) = self.commands.get(&delivery).and_then(|one| Some((one.id, one.twin?))) else {
            return false;
        };
        let under_way =
            self.commands.get(&twin).filter(|twin| twin.succeeded).map(|twin| twin.outcome.clone());
        let over = || self.ended.get(&id).filter(|ending| !ending.failed_locally);
        let Some(Some(outcome)) = under_way.or_else(|| over().map(|ending| ending.outcome.clone())) else {
            return false;
        };
        if self.stage(delivery) == Some(Stage::Ready) {
            self.free_place(delivery);
        }
        self.release_turn(delivery);
        if let Some(command) = self.commands.get_mut(&delivery) {
            (command.stage, command.outcome) = (Stage::Answering, Some(outcome.clone()));
            self.act(Action::Known(delivery));
            self.act(Action::Reply { delivery, answer: Answer::Like(outcome) });
        }
        true
    }

    fn run(&mut self, delivery: DeliveryId) {
        let Some(command) = self.commands.get_mut(&delivery) else { return };
        (command.stage, command.has_begun) = (Stage::Running, true);
        let again = command.again;
        self.act(Action::Run { delivery, again });
    }

    pub(crate) fn noted(&mut self, delivery: DeliveryId, ready: bool) {
        let Some(Stage::Noting { refused }) = self.stage(delivery) else { return };
        let refused = refused.or((!ready).then_some(Refusal::NotStored));
        if !self.is_stopping && refused.is_none() {
            return self.run(delivery);
        }
        self.free_place(delivery);
        if self.is_stopping {
            // A command that an earlier agent began stays half done. A command that only this agent recorded
            // was not begun.
            let mine = self.commands.get(&delivery).filter(|command| !command.was_interrupted);
            if let Some(id) = mine.map(|command| command.id) {
                self.act(Action::Forget(id));
            }
            self.requeue(delivery);
        } else if let Some(why) = refused {
            self.refuse(delivery, why);
        }
    }

    pub(crate) fn failed(&mut self, delivery: DeliveryId, effect: bool) {
        let Some(command) = self.commands.get_mut(&delivery) else { return };
        if command.stage != Stage::Running {
            return;
        }
        command.again |= effect;
        command.stage = Stage::Resting;
        self.free_place(delivery);
        if self.is_stopping {
            self.requeue(delivery);
        } else {
            self.act(Action::Rest(delivery));
        }
    }

    /// While a command waits for its next attempt, it keeps its lock but not its slot.
    pub(crate) fn rested(&mut self, delivery: DeliveryId) {
        if self.stage(delivery) == Some(Stage::Resting) {
            self.set_stage(delivery, Stage::Waiting);
            self.turn_comes(delivery);
        }
    }

    pub(crate) fn cut_short(&mut self, delivery: DeliveryId) {
        match self.stage(delivery) {
            Some(Stage::Running) => self.free_place(delivery),
            Some(Stage::Resting) => {}
            _ => return,
        }
        self.requeue(delivery);
    }

    /// The caller has given up. A command that has begun still answers with its outcome.
    pub(crate) fn expired(&mut self, delivery: DeliveryId) {
        let Some(command) = self.commands.get(&delivery).filter(|command| !command.has_begun) else { return };
        match command.stage {
            Stage::Waiting => self.refuse(delivery, Refusal::Expired(WaitsFor::Turn)),
            Stage::Ready => {
                self.ready.remove(&delivery);
                self.refuse(delivery, Refusal::Expired(WaitsFor::Place));
            }
            Stage::Noting { refused: None } => {
                let refused = Some(Refusal::Expired(WaitsFor::Place));
                self.set_stage(delivery, Stage::Noting { refused });
            }
            _ => {}
        }
    }

    pub(crate) fn abandoned(&mut self, delivery: DeliveryId) {
        if self.stage(delivery) == Some(Stage::Left) {
            self.close(delivery);
        }
    }

    /// Nothing begins from now on. Running commands finish, and finished commands are answered.
    pub(crate) fn terminate(&mut self) {
        self.is_stopping = true;
        let waits =
            |command: &Command<V>| matches!(command.stage, Stage::Waiting | Stage::Ready | Stage::Resting);
        let all = self.commands.iter().filter(|(_, command)| waits(command));
        for delivery in all.map(|(delivery, _)| *delivery).collect::<Vec<_>>() {
            self.requeue(delivery);
        }
    }

    pub(crate) fn fetch(&mut self, delivery: DeliveryId) {
        self.close(delivery);
        self.act(Action::Fetch(delivery));
    }

    pub(crate) fn refuse(&mut self, delivery: DeliveryId, why: Refusal) {
        self.set_stage(delivery, Stage::Refusing);
        self.act(Action::Refuse { delivery, why });
    }

    pub(crate) fn requeue(&mut self, delivery: DeliveryId) {
        let Some(command) = self.close(delivery) else { return };
        self.act(Action::Requeue(delivery));
        self.requeue_repeats(command.repeats);
    }

    pub(crate) fn free_place(&mut self, delivery: DeliveryId) {
        if self.commands.get(&delivery).is_some_and(|command| command.needs_place) {
            self.places += 1;
        }
    }

    /// Refuses local commands that wait for a disk that rejects writes, because their callers can react.
    /// Commands of the broker keep waiting in their order.
    pub(crate) fn call_off(&mut self) {
        for held in self.held.clone() {
            for behind in self.order.all_behind(held) {
                let is_local = |command: &Command<V>| {
                    command.source == Source::Socket && command.stage == Stage::Waiting
                };
                if self.commands.get(&behind).is_some_and(is_local) {
                    self.refuse(behind, Refusal::Held(held));
                }
            }
        }
    }
}
