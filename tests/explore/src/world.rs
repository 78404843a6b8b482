//! The whole model: the core, the tasks that carry out its actions, the broker, the disk, CouchDB and the
//! callers.

use std::{collections::BTreeMap, sync::Arc};

use trove_couchdb_delivery::{Action, Cancellation, Core, DeliveryId, Limits, Source};

use crate::{
    broker::Broker,
    disk::Disk,
    monitor::{Monitor, Set, Violation},
    scenario::{Bits, Message, Scenario},
    step::{Step, Way},
};

/// What the tasks store about a delivery.
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    pub(crate) message: u8,
    /// `None` if the message did not come from the broker. Otherwise whether its connection is the current
    /// one.
    pub(crate) connection: Option<bool>,
    pub(crate) outcome: Option<u8>,
    pub(crate) has_begun: bool,
    pub(crate) has_failed: bool,
    pub(crate) told_expired: bool,
    pub(crate) is_answered: bool,
}

/// An action in progress.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Task {
    pub(crate) action: Action<u8>,
    /// The broker has the answer but has not confirmed it.
    pub(crate) published: bool,
}

/// The model at one moment.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) state: State,
}

/// The part of the model that distinguishes states.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// `None` while no agent runs.
    pub(crate) core: Option<Core<Bits, u8>>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) flights: BTreeMap<DeliveryId, Flight>,
    pub(crate) next_delivery: u64,
    /// The delivery that was left in the broker, with its message; no message is fetched before it can begin.
    pub(crate) left: Option<(DeliveryId, u8)>,
    pub(crate) caught_up: bool,
    pub(crate) is_stopping: bool,
    /// Whether the broker has delivered the one further message that a stopping agent can still get.
    pub(crate) last_came: bool,
    pub(crate) broker: Broker,
    pub(crate) disk: Disk,
    /// Marks that a later write stores on the disk.
    pub(crate) marks: Vec<trove_couchdb_delivery::Mark>,
    /// Records that the disk has refused.
    pub(crate) records: BTreeMap<u8, u8>,
    /// Number of published messages of the control plane.
    pub(crate) published: u8,
    /// Local messages that were sent.
    pub(crate) sent: Set,
    pub(crate) published_again: Set,
    /// Operations that an operator has cancelled.
    pub(crate) asked: Set,
    /// Whether each operation ends as cancelled, as this process knows.
    pub(crate) cancellations: BTreeMap<u8, Cancellation>,
    /// Cancellations that the disk does not have yet.
    pub(crate) cancelling: Set,
    pub(crate) monitor: Monitor,
    pub(crate) faults: u8,
}

impl World {
    /// The initial state.
    pub(crate) fn new(scenario: &Arc<Scenario>, faults: u8) -> Self {
        let state = State {
            core: None,
            tasks: Vec::new(),
            flights: BTreeMap::new(),
            next_delivery: 1,
            left: None,
            caught_up: false,
            is_stopping: false,
            last_came: false,
            broker: Broker::default(),
            disk: Disk::default(),
            marks: Vec::new(),
            records: BTreeMap::new(),
            published: 0,
            sent: 0,
            published_again: 0,
            asked: 0,
            cancellations: BTreeMap::new(),
            cancelling: 0,
            monitor: Monitor::default(),
            faults,
        };
        Self { scenario: Arc::clone(scenario), state }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { places: self.scenario.places, endings: self.scenario.endings, marks: self.scenario.marks }
    }

    pub(crate) fn message(&self, number: u8) -> &Message {
        &self.scenario.messages[usize::from(number)]
    }

    pub(crate) fn name_of(&self, delivery: DeliveryId) -> &'static str {
        self.state.flights.get(&delivery).map_or("?", |flight| self.message(flight.message).name)
    }

    pub(crate) fn task(&self, number: u8) -> Option<(&Action<u8>, bool)> {
        self.state.tasks.get(usize::from(number)).map(|task| (&task.action, task.published))
    }

    pub(crate) fn next_delivery(&self) -> u64 {
        self.state.next_delivery
    }

    /// The message that the broker would deliver next.
    pub(crate) fn next_message(&self) -> Option<u8> {
        let mut broker = self.state.broker.clone();
        broker.hand_out(DeliveryId(0)).map(|queued| queued.message)
    }

    /// The message that the control plane would send next.
    pub(crate) fn next_to_publish(&self) -> Option<u8> {
        let numbered = (0..).zip(&self.scenario.messages).skip(usize::from(self.state.published));
        numbered.filter(|(_, message)| message.source == Source::Broker).map(|(number, _)| number).next()
    }

    /// Whether the agent's configuration names a broker.
    pub(crate) fn has_broker(&self) -> bool {
        !(self.scenario.loses_broker && self.state.monitor.has_died)
    }

    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u8, &Message)> {
        (0..).zip(&self.scenario.messages)
    }

    /// The steps that happen without faults until everything is done; the first one is what a fair agent does
    /// first.
    pub(crate) fn progress(&self) -> Vec<Step> {
        let State { core, broker, tasks, .. } = &self.state;
        if core.is_none() {
            return vec![Step::Start];
        }
        // The order of other steps before the publication does not matter, so they get no separate states.
        if !self.scenario.sends_late && self.next_to_publish().is_some() {
            return vec![Step::Publish];
        }
        let mut steps = Vec::new();
        if self.state.faults == 0
            && let Some(number) = tasks.iter().position(|task| matches!(task.action, Action::Forget(_)))
        {
            // Without a possible crash, its time does not matter.
            return vec![Step::Carry(u8::try_from(number).unwrap_or_default(), Way::Well)];
        }
        if !broker.is_connected && !self.state.is_stopping && self.has_broker() {
            steps.push(Step::Connect);
        }
        let possible = (0..).zip(tasks).filter(|(_, task)| self.can_carry(&task.action));
        steps.extend(possible.map(|(number, _)| Step::Carry(number, Way::Well)));
        if broker.has_acks() {
            steps.push(Step::Acknowledged);
        }
        let cancelling =
            (0..).zip(&self.scenario.messages).filter(|(number, _)| self.state.cancelling & 1 << number != 0);
        steps.extend(cancelling.map(|(number, _)| Step::Cancelled(number)));
        let takes = !self.state.is_stopping || !self.state.last_came;
        if broker.is_connected && !broker.is_empty() && self.state.left.is_none() && takes {
            steps.push(Step::Deliver);
        }
        if broker.is_connected && broker.is_empty() && !self.state.caught_up && !self.state.is_stopping {
            steps.push(Step::CaughtUp);
        }
        if self.next_to_publish().is_some() {
            steps.push(Step::Publish);
        }
        for (number, message) in self.numbered() {
            let is_new = self.state.sent & 1 << number == 0;
            let can_be_sent = matches!(message.source, Source::Socket | Source::Own);
            if can_be_sent && is_new && !self.state.is_stopping {
                steps.push(Step::Send(number));
            }
        }
        if self.state.is_stopping && tasks.is_empty() {
            steps.push(Step::Exit);
        }
        steps
    }

    /// Whether the answer goes over the broker, as the end of an operation does too.
    pub(crate) fn answers_over_bus(&self, flight: &Flight) -> bool {
        flight.connection.is_some() || self.message(flight.message).source == Source::Disk
    }

    /// An answer over the broker needs a connection, except that a stopping agent does not wait for it.
    fn can_carry(&self, action: &Action<u8>) -> bool {
        let Action::Reply { delivery, .. } = action else { return true };
        let is_bus = self.state.flights.get(delivery).is_some_and(|flight| self.answers_over_bus(flight));
        !is_bus || self.state.broker.is_connected || self.state.is_stopping
    }

    /// The steps that may happen in addition: callers giving up, and faults.
    pub(crate) fn disturbances(&self) -> Vec<Step> {
        let State { core, broker, tasks, faults, .. } = &self.state;
        let mut steps = Vec::new();
        if core.is_none() || (!self.scenario.sends_late && self.next_to_publish().is_some()) {
            return steps;
        }
        for (number, message) in self.numbered() {
            let is_sent = self.state.published > number && message.source == Source::Broker;
            if message.has_deadline && is_sent && self.state.monitor.expired & 1 << number == 0 {
                steps.push(Step::GiveUp(number));
            }
        }
        for (number, _) in self.numbered().filter(|_| self.scenario.cancels && !self.state.is_stopping) {
            if self.state.asked & 1 << number == 0 && self.state.disk.is_under_way(number) {
                steps.push(Step::Cancel(number));
            }
        }
        if *faults == 0 {
            return steps;
        }
        steps.push(Step::Kill);
        let stored =
            self.numbered().filter(|(number, message)| self.state.disk.has_record_of(message, *number));
        steps.extend(stored.map(|(number, _)| Step::Tear(number)));
        if !self.state.is_stopping {
            steps.push(Step::Terminate);
        } else if !tasks.is_empty() {
            steps.push(Step::GraceOver);
        }
        if broker.is_connected {
            steps.push(Step::Lose);
            if !broker.is_done() {
                steps.push(Step::LoseQueue);
            }
            if tasks.iter().any(|task| task.published) {
                steps.push(Step::CloseChannel);
            }
            let is_call = self.next_message().is_some_and(|next| self.message(next).has_deadline);
            if is_call && self.state.left.is_none() && !self.state.caught_up && !self.state.is_stopping {
                steps.push(Step::PutBack);
            }
        }
        for (number, message) in self.numbered() {
            // A publisher retries at once, and not after its caller has given up.
            let over = self.state.published_again | self.state.monitor.expired;
            let may_come_again = self.state.published > number && over & 1 << number == 0;
            if message.source == Source::Broker && may_come_again {
                steps.push(Step::PublishAgain(number));
            }
        }
        for (number, task) in (0..).zip(tasks) {
            let ways: &[Way] = match &task.action {
                Action::NoteBeginning(_) | Action::HandOver(_) | Action::Write { .. } | Action::Forget(_) => {
                    &[Way::DiskFails]
                }
                Action::Acknowledge(delivery) if self.is_operation(*delivery) => &[Way::DiskFails],
                Action::Run { delivery, .. } => {
                    let failed = self.state.flights.get(delivery).is_some_and(|flight| flight.has_failed);
                    let is_bus = self.state.flights.get(delivery).is_some_and(|one| one.connection.is_some());
                    match (self.state.is_stopping, failed, is_bus) {
                        (true, _, _) => &[Way::FailsForNow, Way::Fails, Way::CutShort],
                        (false, true, _) => &[Way::Fails],
                        (false, false, true) => &[Way::FailsForNow, Way::Fails, Way::Panics],
                        (false, false, false) => &[Way::FailsForNow, Way::Fails],
                    }
                }
                Action::Reply { .. } if task.published => &[],
                Action::Reply { delivery, .. } => {
                    let flight = self.state.flights.get(delivery);
                    let is_bus = flight.is_some_and(|flight| self.answers_over_bus(flight));
                    match (is_bus, broker.is_connected, self.state.is_stopping) {
                        (true, true, true) => &[Way::Blocked, Way::Returned],
                        (true, false, _) => &[],
                        _ => &[Way::Returned],
                    }
                }
                _ => &[],
            };
            steps.extend(ways.iter().map(|way| Step::Carry(number, *way)));
        }
        steps
    }

    fn is_operation(&self, delivery: DeliveryId) -> bool {
        let flight = self.state.flights.get(&delivery);
        flight.is_some_and(|flight| self.message(flight.message).source == Source::Disk)
    }

    /// The guarantees that must hold when no progress is possible.
    pub(crate) fn is_at_rest(&self) -> Result<(), Violation> {
        let State { core, broker, flights, .. } = &self.state;
        let Some(core) = core else { return Err("there is no agent".to_owned()) };
        if !core.is_idle() || !core.holds_nothing(self.scenario.places) {
            return Err("a command, a turn, a place or a mark is held for ever".to_owned());
        }
        if self.has_broker() && !broker.is_done() {
            return Err("a message is never acknowledged".to_owned());
        }
        if !flights.is_empty() {
            return Err("the tasks keep a delivery for ever".to_owned());
        }
        if let Some(operation) = self.state.disk.untold(self.state.monitor.told_in_vain) {
            return Err(format!("the end of {} is never told", self.message(operation).name));
        }
        if !self.has_broker() {
            return Ok(());
        }
        self.no_record_stays()?;
        self.state.monitor.is_satisfied(&self.scenario)
    }
}
