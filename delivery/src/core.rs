//! The state machine: its state, and the dispatch of events to modules.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    command::{Command, Repeat, Stage},
    ended::{Ended, Ending, Left},
    event::{Action, DeliveryId, Event, Mark, Scopes},
    order::Order,
    replay_tags::ReplayTags,
};

/// The limits of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The maximum number of concurrent commands.
    pub places: usize,
    /// The number of outcomes of this agent that are remembered.
    pub endings: usize,
    /// The number of message marks that are remembered.
    pub marks: usize,
}

/// The records of an earlier agent; see [`resume`](crate::resume()).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resumed<S, V> {
    /// The marks of finished messages, oldest first.
    pub marks: Vec<Mark>,
    /// Finished commands whose messages may be redelivered: their marks (the mark of the id first) and
    /// outcomes.
    pub ended: Vec<(Vec<Mark>, V)>,
    /// Commands that were begun and not finished, by the mark of their id.
    pub interrupted: Vec<(Mark, S)>,
    /// Operations whose end was not reported. They are delivered before any other message.
    pub unfinished: Vec<Mark>,
}

impl<S, V> Default for Resumed<S, V> {
    fn default() -> Self {
        Self { marks: Vec::new(), ended: Vec::new(), interrupted: Vec::new(), unfinished: Vec::new() }
    }
}

/// Decides about deliveries. `S` is the type of a command's scopes, `V` is the data for answering a command
/// again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Core<S, V> {
    pub(crate) commands: BTreeMap<DeliveryId, Command<V>>,
    /// The first delivery of each message in flight.
    pub(crate) by_id: BTreeMap<Mark, DeliveryId>,
    /// Further deliveries of messages that are in flight or finished.
    pub(crate) repeats: BTreeMap<DeliveryId, Repeat>,
    pub(crate) order: Order<S>,
    /// Operations. Commands that conflict with them are refused instead of waiting.
    pub(crate) operations: BTreeSet<DeliveryId>,
    /// Commands that have their lock and wait for a slot.
    pub(crate) ready: BTreeSet<DeliveryId>,
    /// The number of free slots.
    pub(crate) places: usize,
    /// Commands whose outcome could not be written.
    pub(crate) held: BTreeSet<DeliveryId>,
    pub(crate) ended: Ended<V>,
    pub(crate) left: Left,
    pub(crate) marks: ReplayTags<V>,
    /// Commands that an earlier agent began and that were not redelivered yet.
    pub(crate) interrupted: BTreeMap<Mark, S>,
    pub(crate) is_stopping: bool,
    pub(crate) actions: Vec<Action<V>>,
}

impl<S: Scopes, V: Clone> Core<S, V> {
    /// A core with the records of an earlier agent.
    pub fn new(limits: Limits, resumed: Resumed<S, V>) -> Self {
        let mut marks = ReplayTags::new(limits.marks);
        marks.remember(resumed.marks);
        for (all, outcome) in resumed.ended {
            if let Some((id, parts)) = all.split_first() {
                marks.record(*id, parts, outcome);
            }
        }
        Self {
            commands: BTreeMap::new(),
            by_id: BTreeMap::new(),
            repeats: BTreeMap::new(),
            order: Order::default(),
            operations: BTreeSet::new(),
            ready: BTreeSet::new(),
            places: limits.places.max(1),
            held: BTreeSet::new(),
            ended: Ended::new(limits.endings),
            left: Left::default(),
            marks,
            interrupted: resumed.interrupted.into_iter().collect(),
            is_stopping: false,
            actions: Vec::new(),
        }
    }

    /// Returns the actions for an event. Events about finished deliveries change nothing.
    pub fn handle(&mut self, event: Event<S, V>) -> Vec<Action<V>> {
        match event {
            Event::Delivered(delivered) => self.delivered(delivered),
            Event::Unreadable(delivery) => self.act(Action::Reject { delivery, forged: false }),
            Event::PutBack { id, redelivered } => self.put_back(id, redelivered),
            Event::CaughtUp => self.caught_up(),
            Event::Noted { delivery, ready } => self.noted(delivery, ready),
            Event::HandedOver { delivery, operation } => self.handed_over(delivery, operation),
            Event::Failed { delivery, effect } => self.failed(delivery, effect),
            Event::Rested(delivery) => self.rested(delivery),
            Event::CutShort(delivery) => self.cut_short(delivery),
            Event::Expired(delivery) => self.expired(delivery),
            Event::Abandoned(delivery) => self.abandoned(delivery),
            Event::Terminate => self.terminate(),
            Event::Finished { delivery, outcome, succeeded } => self.finished(delivery, outcome, succeeded),
            Event::Written { delivery, stored } => self.written(delivery, stored),
            Event::Replied { delivery, sent } => self.replied(delivery, sent),
            Event::Acknowledged { delivery, sent } => self.acknowledged(delivery, sent),
            Event::Panicked(delivery) => self.panicked(delivery),
        }
        self.fill_places();
        std::mem::take(&mut self.actions)
    }

    /// Whether an earlier run may have done a part of it. A message that this agent only requeued counts as
    /// new.
    pub fn is_again(&self, id: &Mark, redelivered: bool) -> bool {
        redelivered && !self.left.contains(id)
    }

    /// Whether nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.commands.is_empty() && self.repeats.is_empty()
    }

    /// Whether all locks, slots and marks are released.
    pub fn holds_nothing(&self, places: usize) -> bool {
        let free = self.order.is_empty()
            && self.operations.is_empty()
            && self.ready.is_empty()
            && self.held.is_empty();
        free && self.by_id.is_empty() && self.marks.none_is_under_way() && self.places == places.max(1)
    }

    pub(crate) fn act(&mut self, action: Action<V>) {
        self.actions.push(action);
    }

    /// The stage of a command. `None` if it is finished.
    pub(crate) fn stage(&self, delivery: DeliveryId) -> Option<Stage> {
        self.commands.get(&delivery).map(|command| command.stage)
    }

    pub(crate) fn set_stage(&mut self, delivery: DeliveryId, stage: Stage) {
        if let Some(command) = self.commands.get_mut(&delivery) {
            command.stage = stage;
        }
    }

    /// Finishes a command and remembers its outcome.
    pub(crate) fn end(&mut self, delivery: DeliveryId) {
        let Some(command) = self.close(delivery) else { return };
        let failed_locally = command.failed_locally();
        if command.twin.is_some() {
            self.by_id.remove(&command.id);
        }
        let ending = Ending { source: command.source, outcome: command.outcome, failed_locally };
        self.ended.add(command.id, ending);
    }

    /// Removes a command, so that no other command waits for it.
    pub(crate) fn close(&mut self, delivery: DeliveryId) -> Option<Command<V>> {
        self.release_turn(delivery);
        let command = self.commands.remove(&delivery)?;
        if self.by_id.get(&command.id) == Some(&delivery) {
            self.by_id.remove(&command.id);
            if let Some(twin) = command.twin.filter(|twin| self.commands.contains_key(twin)) {
                self.by_id.insert(command.id, twin);
            }
        }
        self.marks.release(command.id, &command.parts);
        self.held.remove(&delivery);
        self.ready.remove(&delivery);
        Some(command)
    }

    /// Releases a command's lock, so that later commands on the same user or database may begin.
    pub(crate) fn release_turn(&mut self, delivery: DeliveryId) {
        let Some(command) = self.commands.get_mut(&delivery).filter(|command| command.has_turn) else {
            return;
        };
        command.has_turn = false;
        self.operations.remove(&delivery);
        for next in self.order.leave(delivery) {
            self.turn_comes(next);
        }
    }

    /// The task of this delivery panicked, so its outcome is unknown.
    fn panicked(&mut self, delivery: DeliveryId) {
        self.repeats.remove(&delivery);
        let Some(stage) = self.stage(delivery) else { return };
        if matches!(stage, Stage::Running | Stage::Noting { .. }) {
            self.free_place(delivery);
        }
        let Some(command) = self.close(delivery) else { return };
        if command.lasts() {
            self.marks.acknowledge(command.id);
            self.act(Action::Forget(command.id));
        }
        self.requeue_repeats(command.repeats);
    }

    /// Requeues messages that waited for a message that did not finish.
    pub(crate) fn requeue_repeats(&mut self, repeats: Vec<DeliveryId>) {
        for delivery in repeats {
            if self.repeats.remove(&delivery).is_some() {
                self.act(Action::Requeue(delivery));
            }
        }
    }
}
