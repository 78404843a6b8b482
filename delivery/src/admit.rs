//! Decides whether a message is new, a duplicate, a replay or a forgery, and whether it may wait in the
//! agent.

use crate::{
    command::{Command, Repeat, Stage},
    core::Core,
    event::{Action, Answer, Delivered, DeliveryId, Mark, Refusal, Request, Scopes, Source, Work},
    replay_tags::ReplayVerdict,
};

impl<S: Scopes, V: Clone> Core<S, V> {
    pub(crate) fn delivered(&mut self, delivered: Delivered<S>) {
        let Delivered { delivery, source, id, parts, redelivered, request } = delivered;
        let again = self.is_again(&id, redelivered);
        if redelivered {
            self.left.remove(&id);
        }
        let twin = self.twin(source, id);
        if twin.is_none() && self.is_repeated(delivery, source, id) {
            return;
        }
        match self.marks.verdict_of(id, &parts) {
            ReplayVerdict::Known(recorded) if twin.is_none() => {
                self.carried_out(delivery, source, id, parts, recorded);
            }
            ReplayVerdict::Forged => self.act(Action::Reject { delivery, forged: true }),
            // A twin has the same mark, which is known before the twin is finished.
            ReplayVerdict::Fresh | ReplayVerdict::Known(_) => match request {
                Request::Refuse => {
                    // If an operation can't continue, this outcome must be recorded.
                    let changes = source == Source::Disk;
                    let command = Command::new(source, id, parts, Stage::Refusing);
                    self.keep(delivery, Command { changes, ..command });
                    self.act(Action::Refuse { delivery, why: Refusal::Unacceptable });
                }
                Request::Run(work) => {
                    let command = Command { again, twin, ..Command::new(source, id, parts, Stage::Waiting) };
                    self.enter(delivery, command, work);
                }
            },
        }
    }

    /// Requeues a call unread that has waited in the agent for an unknown time.
    pub(crate) fn put_back(&mut self, id: Mark, redelivered: bool) {
        if !self.is_again(&id, redelivered) {
            self.left.add(id);
        }
    }

    /// Forgets commands that an earlier agent began and that the broker did not redeliver.
    pub(crate) fn caught_up(&mut self) {
        for id in std::mem::take(&mut self.interrupted).into_keys() {
            self.act(Action::Forget(id));
        }
    }

    /// The local command with the same id as this message from the broker, if it makes a change and is in
    /// flight. The message queues for its own lock: if the local command fails, the message must run in its
    /// original order.
    fn twin(&self, source: Source, id: Mark) -> Option<DeliveryId> {
        let first = *self.by_id.get(&id)?;
        let command = self.commands.get(&first)?;
        let is_local = source == Source::Broker && command.source == Source::Socket && command.changes;
        is_local.then_some(first)
    }

    /// Handles another delivery of a message that is in flight or that this agent remembers.
    fn is_repeated(&mut self, delivery: DeliveryId, source: Source, id: Mark) -> bool {
        let (first_source, outcome) =
            if let Some(command) = self.by_id.get(&id).and_then(|first| self.commands.get_mut(first)) {
                let repeat = Repeat { id, source, first_source: command.source };
                let is_answered = match command.stage {
                    Stage::Acknowledging | Stage::Held => true,
                    Stage::Answering => !repeat.is_same_message(),
                    _ => false,
                };
                if !is_answered {
                    command.repeats.push(delivery);
                    self.repeats.insert(delivery, repeat);
                    self.act(Action::Known(delivery));
                    return true;
                }
                (command.source, command.outcome.clone())
            } else if let Some(ending) = self.ended.get(&id)
                && !(ending.failed_locally && source == Source::Broker)
            {
                (ending.source, ending.outcome.clone())
            } else {
                return false;
            };
        self.act(Action::Known(delivery));
        self.answer_repeat(delivery, Repeat { id, source, first_source }, outcome);
        true
    }

    fn answer_repeat(&mut self, delivery: DeliveryId, repeat: Repeat, outcome: Option<V>) {
        if repeat.is_same_message() {
            self.act(Action::Acknowledge(delivery));
        } else {
            let answer = outcome.map_or(Answer::CarriedOut, Answer::Like);
            self.act(Action::Reply { delivery, answer });
        }
        self.repeats.insert(delivery, repeat);
    }

    /// A message whose command was carried out by an earlier agent, or too long ago for this agent to
    /// remember. Nothing runs.
    fn carried_out(
        &mut self,
        delivery: DeliveryId,
        source: Source,
        id: Mark,
        parts: Vec<Mark>,
        recorded: Option<V>,
    ) {
        self.act(Action::Known(delivery));
        // The recorded outcome answers redeliveries of the same message. A local process sends a new message.
        if !source.comes_again() {
            let repeat = Repeat { id, source, first_source: Source::Broker };
            return self.answer_repeat(delivery, repeat, recorded);
        }
        let stage = if recorded.is_some() { Stage::Answering } else { Stage::Acknowledging };
        self.act(match recorded.clone() {
            Some(outcome) => Action::Reply { delivery, answer: Answer::Recorded(outcome) },
            // The message was answered, and only its acknowledgement was lost.
            None => Action::Acknowledge(delivery),
        });
        let command = Command::new(source, id, parts, stage);
        self.by_id.insert(id, delivery);
        self.commands.insert(delivery, Command { outcome: recorded, ..command });
    }

    fn keep(&mut self, delivery: DeliveryId, command: Command<V>) {
        self.by_id.insert(command.id, delivery);
        self.marks.hold(command.id, &command.parts);
        self.commands.insert(delivery, command);
    }

    /// Queues a new command for its lock.
    fn enter(&mut self, delivery: DeliveryId, mut command: Command<V>, work: Work<S>) {
        if self.is_stopping {
            return self.act(Action::Requeue(delivery));
        }
        let Work { scopes, changes, needs_place, at_once, long } = work;
        // A command that takes hours must not occupy a slot.
        let needs_place = needs_place && !long;
        (command.changes, command.needs_place, command.has_turn) = (changes, needs_place, true);
        command.long = long && command.source != Source::Disk;
        let id = command.id;
        // A read is harmless between the two runs of a command.
        let meets_interrupted = !command.source.comes_again()
            && !scopes.only_reads()
            && self.interrupted.values().any(|interrupted| interrupted.conflicts_with(&scopes));
        let in_the_way = self.operation_in_the_way(&scopes);
        let is_free = self.order.enter(delivery, scopes);
        let has_place = !needs_place || self.places > 0;
        if at_once && in_the_way.is_none() && !(is_free && has_place) {
            if !command.again {
                self.left.add(id);
            }
            // An interrupted command stays interrupted until its message is redelivered.
            command.stage = Stage::Left;
            self.commands.insert(delivery, command);
            self.act(Action::Leave(delivery));
            if is_free {
                self.turn_comes(delivery);
            }
            return;
        }
        self.act(Action::Accept(delivery));
        if meets_interrupted {
            // The id is not stored: a message of the broker may have the same id and must run.
            command.stage = Stage::Refusing;
            self.commands.insert(delivery, command);
            return self.act(Action::Refuse { delivery, why: Refusal::Interrupted });
        }
        match command.source {
            Source::Broker => command.was_interrupted = self.interrupted.remove(&id).is_some(),
            Source::Disk => drop(self.operations.insert(delivery)),
            Source::Socket | Source::Own => {}
        }
        self.keep(delivery, command);
        if let Some(operation) = in_the_way {
            // A twin of a successful command gets the same answer.
            if !self.twin_succeeded(delivery) {
                self.refuse(delivery, Refusal::Operation(operation));
            }
            return;
        }
        if is_free {
            self.turn_comes(delivery);
        } else {
            self.call_off();
        }
    }
}
