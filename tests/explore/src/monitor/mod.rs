//! The guarantees: records each run, answer and acknowledgement, and detects violations.

mod facts;

use std::collections::BTreeMap;

use trove_couchdb_delivery::{DeliveryId, Scopes, Source};

use crate::scenario::{Message, Scenario, THINGS};

/// Outcomes from this number on are failures.
pub(crate) const FAILED: u8 = 100;

/// Refusals begin here.
pub(crate) const REFUSED: u8 = FAILED + 50;

/// The outcomes of cancelled operations begin here.
pub(crate) const CANCELLED: u8 = FAILED + 100;

/// Whether a command has run and failed.
fn has_failed(content: u8) -> bool {
    (FAILED..REFUSED).contains(&content)
}

/// The description of a violated guarantee.
pub(crate) type Violation = String;

/// A set of ids or messages, one bit for each.
pub(crate) type Set = u8;

pub(crate) fn has(set: Set, number: u8) -> bool {
    set & 1 << number != 0
}

/// The known facts when a command begins.
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// The core knew that the caller had given up.
    pub(crate) told_expired: bool,
    /// The agent had been asked to stop.
    pub(crate) at_the_end: bool,
    /// The command was told that an earlier run may have done a part of it.
    pub(crate) again: bool,
    /// The agent cannot know of an earlier run: the message was published twice, or the queue was lost.
    pub(crate) may_be_a_copy: bool,
}

/// The recorded facts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Monitor {
    /// Ids of commands that have begun to change something.
    ran: Set,
    /// The ids of `ran` after which a conflicting command has begun.
    overtaken: Set,
    /// Ids whose failure was answered over the broker.
    failed: Set,
    /// Ids that ran for a local process and whose mark need not be on the disk.
    ran_locally: Set,
    /// Ids whose outcome the disk has refused.
    unwritten: Set,
    /// Ids whose mark is on the disk: after a restart, a broker message with the same id is not answered.
    marked: Set,
    /// Ids whose order is no longer guaranteed: their outcome was not on the disk when their message was
    /// acknowledged, or they conflict with such an id that ran again.
    pub(crate) loose: Set,
    /// Ids whose success was answered.
    succeeded: Set,
    /// Ids that have ended since the agent's start, so that it knows the outcome.
    pub(crate) ended_here: Set,
    /// Messages that were answered since the agent's start.
    pub(crate) answered_here: Set,
    /// Ids whose outcome the disk has refused at least once.
    refused_once: Set,
    /// Ids whose beginning the disk has refused: after a crash they do not block local commands.
    unnoted: Set,
    /// Ids of local commands whose mark the disk has refused.
    unmarked: Set,
    /// Ids that were acknowledged since the agent's start.
    pub(crate) settled: Set,
    /// Ids whose interrupted command the broker has delivered again since the agent's start.
    pub(crate) came_back: Set,
    /// Ids whose record could not be removed from the disk.
    pub(crate) kept_records: Set,
    /// Operations whose end this agent has told, which the disk does not know.
    pub(crate) told_in_vain: Set,
    /// Messages that this agent has seen, and those that may have been seen by an earlier one.
    seen: Set,
    seen_before: Set,
    /// An agent has ended, in a scenario in which the next one has no broker.
    pub(crate) has_died: bool,
    /// A command failed for a local process: its effect on CouchDB is undefined.
    is_half_done: bool,
    /// The last answer to each id over each transport.
    contents: BTreeMap<(u8, Source), u8>,
    /// Messages that were answered.
    answered: Set,
    /// Deliveries that were accepted and have not ended, in the order of acceptance.
    waiting: BTreeMap<DeliveryId, u8>,
    running: BTreeMap<DeliveryId, u8>,
    /// Ids in the order of their first run.
    first_runs: Vec<u8>,
    couch: [u8; THINGS],
    /// Messages that need no answer: their callers are gone, or the broker lost them.
    pub(crate) gone: Set,
    /// Messages that the broker has lost.
    pub(crate) lost: Set,
    /// Ids of commands whose task panicked: no answer is owed.
    panicked: Set,
    /// Messages whose callers have given up.
    pub(crate) expired: Set,
}

impl Monitor {
    /// A command sends its requests to CouchDB.
    pub(crate) fn runs(
        &mut self,
        scenario: &Scenario,
        delivery: DeliveryId,
        number: u8,
        attempt: Attempt,
    ) -> Result<(), Violation> {
        let message = &scenario.messages[usize::from(number)];
        let (name, id) = (message.name, message.id);
        let conflicts = |other: &u8| {
            let other = &scenario.messages[usize::from(*other)];
            other.scopes.conflicts_with(&message.scopes)
        };
        if self.is_replay(scenario, message) {
            return Err(format!("{name} is forged, and runs"));
        }
        if attempt.at_the_end {
            return Err(format!("{name} begins although the agent was told to end"));
        }
        if attempt.told_expired {
            return Err(format!("{name} begins although its caller has given up"));
        }
        if let Some(other) = self.running.values().find(|other| conflicts(other)) {
            let other = scenario.messages[usize::from(*other)].name;
            return Err(format!("{name} runs beside {other}"));
        }
        if self.accepted_before(delivery).any(|other| conflicts(&other)) {
            return Err(format!("{name} runs before a command that was accepted earlier"));
        }
        let is_unsafe =
            |other: &&Message| has(self.unwritten & !self.settled & self.ran, other.id) && other.id != id;
        if let Some(other) = scenario
            .messages
            .iter()
            .filter(is_unsafe)
            .find(|other| other.scopes.conflicts_with(&message.scopes))
        {
            return Err(format!("{name} runs although the disk has refused the outcome of {}", other.name));
        }
        if message.changes() {
            if has(self.overtaken, id) && !has(self.loose, id) {
                return Err(format!("{name} runs again although a conflicting command has begun since"));
            }
            if has(self.succeeded, id) && !has(self.refused_once | self.loose, id) {
                return Err(format!("{name} runs although its success was answered"));
            }
            if has(self.ended_here, id) {
                return Err(format!("{name} runs although the agent knows how it ended"));
            }
            if has(self.ran, id) && !attempt.again && !attempt.may_be_a_copy {
                return Err(format!("{name} runs again as if it were new"));
            }
            let may_have_run = has(self.ran, id) || has(self.seen_before, number) || message.is_forged();
            if attempt.again && !may_have_run {
                return Err(format!("{name} begins as if it had run before, and it has not"));
            }
            if has(self.failed, id) && !has(self.refused_once | self.loose, id) {
                return Err(format!("{name} runs although its failure was answered"));
            }
        }
        self.must_read_what_was_written(scenario, message)?;
        self.waiting.insert(delivery, number);
        self.running.insert(delivery, number);
        // A read between two runs of a command changes nothing.
        for other in scenario.messages.iter().filter(|other| other.id != id && message.changes()) {
            let local = matches!(message.source, Source::Socket | Source::Own) && has(self.unnoted, other.id);
            if has(self.ran, other.id) && other.scopes.conflicts_with(&message.scopes) && !local {
                self.overtaken |= 1 << other.id;
                self.loose |= u8::from(has(self.loose, id)) << other.id;
            }
        }
        if message.changes() {
            if !has(self.ran, id) {
                self.ran |= 1 << id;
                self.first_runs.push(id);
            }
            if matches!(message.source, Source::Socket | Source::Own) {
                self.ran_locally |= 1 << id;
            }
            for thing in 0..THINGS {
                if has(message.scopes.writes, u8::try_from(thing).unwrap_or_default()) {
                    self.couch[thing] = id;
                }
            }
        }
        Ok(())
    }

    /// Whether its parts were in a message that is in flight or has been answered. If that message never
    /// arrived, the agent cannot detect the replay.
    fn is_replay(&self, scenario: &Scenario, message: &Message) -> bool {
        let is_original = |number: u8| {
            let original = &scenario.messages[usize::from(number)];
            message.is_forged()
                && !has(self.refused_once, original.id)
                && !original.is_forged()
                && Some(original.id) == message.parts_of
        };
        // Marks of a read reach the disk later.
        let is_known =
            |number: u8| scenario.messages[usize::from(number)].changes() || has(self.answered_here, number);
        let mut numbers = 0..u8::try_from(scenario.messages.len()).unwrap_or_default();
        let answered =
            numbers.any(|number| has(self.answered, number) && is_original(number) && is_known(number));
        answered || self.waiting.values().any(|number| is_original(*number))
    }

    fn must_read_what_was_written(&self, scenario: &Scenario, message: &Message) -> Result<(), Violation> {
        for (thing, value) in self.couch.iter().enumerate() {
            let bit = u8::try_from(thing).unwrap_or_default();
            if has(message.scopes.reads, bit) && self.last_writer(scenario, bit) != *value && self.loose == 0
            {
                return Err(format!("{} does not read what was written last", message.name));
            }
        }
        Ok(())
    }

    /// Whether the expected contents of CouchDB are known exactly.
    fn is_exact(&self) -> bool {
        self.loose == 0 && self.unnoted == 0 && !self.is_half_done
    }

    fn last_writer(&self, scenario: &Scenario, thing: u8) -> u8 {
        let writes =
            |id: &&u8| scenario.messages.iter().any(|one| one.id == **id && has(one.scopes.writes, thing));
        self.first_runs.iter().rev().find(writes).copied().unwrap_or_default()
    }

    /// An answer was sent.
    pub(crate) fn answered(&mut self, message: &Message, number: u8, content: u8) -> Result<(), Violation> {
        let before = self.contents.insert((message.id, message.source), content);
        let exempt = !message.changes() || has(self.refused_once | self.loose, message.id);
        // The failure of a local command may be answered after the broker's message has run.
        let is_final = has_failed(content) && message.source != Source::Socket;
        if is_final && has(self.succeeded, message.id) && !exempt {
            return Err(format!("{} has failed although its success was answered", message.name));
        }
        if let Some(before) = before.filter(|before| *before != content && !exempt) {
            return Err(format!("{} was answered {before} and is now answered {content}", message.name));
        }
        self.answered_here |= 1 << number;
        self.answered |= 1 << number;
        if content < FAILED && message.changes() {
            self.succeeded |= 1 << message.id;
        }
        if content >= FAILED && matches!(message.source, Source::Broker | Source::Disk) {
            self.failed |= 1 << message.id;
        }
        Ok(())
    }

    /// A broker message is acknowledged.
    pub(crate) fn acknowledged(
        &mut self,
        scenario: &Scenario,
        number: u8,
        is_on_disk: bool,
    ) -> Result<(), Violation> {
        let message = &scenario.messages[usize::from(number)];
        if message.changes() && !is_on_disk && !has(self.unwritten | self.unmarked, message.id) {
            return Err(format!("{} is acknowledged before its outcome is on the disk", message.name));
        }
        // Who only has the id of a message is owed no answer.
        let is_owed = !has(self.marked | self.panicked, message.id) && !message.is_forged();
        if is_owed && !self.is_answered(number) {
            return Err(format!("{} is acknowledged before it is answered", message.name));
        }
        self.settled |= 1 << message.id;
        // An agent that remembers few messages may have forgotten this one when it comes again.
        if has(self.unwritten, message.id) || scenario.forgets() {
            self.loose |= 1 << message.id;
        }
        if scenario.forgets() {
            self.ended_here &= !(1 << message.id);
        }
        Ok(())
    }

    /// The process has exited. Commands of local processes that were not stored may run again: no guarantee
    /// holds for them.
    pub(crate) fn process_ended(&mut self, scenario: &Scenario, sent: Set) {
        (self.waiting, self.running) = (BTreeMap::new(), BTreeMap::new());
        (self.ended_here, self.answered_here, self.settled, self.came_back) = (0, 0, 0, 0);
        (self.unwritten, self.told_in_vain) = (0, 0);
        self.has_died = scenario.loses_broker;
        self.seen_before |= self.seen;
        let forgotten = std::mem::take(&mut self.ran_locally);
        self.ran &= !forgotten;
        self.overtaken &= !forgotten;
        self.failed &= !forgotten;
        for (number, message) in (0..).zip(&scenario.messages) {
            self.seen_before |= u8::from(message.source == Source::Disk) << number;
            let waits = message.source == Source::Broker || !has(sent, number);
            if !waits && !self.is_answered(number) {
                self.gone |= 1 << number;
            }
        }
    }

    /// The guarantees that must hold when no further step is possible.
    pub(crate) fn is_satisfied(&self, scenario: &Scenario) -> Result<(), Violation> {
        for (number, message) in (0..).zip(&scenario.messages) {
            let nobody_waits =
                has(self.gone | self.expired, number) || message.is_forged() || has(self.marked, message.id);
            let nobody_waits = nobody_waits || message.is_unreadable;
            let is_sent = matches!(message.source, Source::Broker | Source::Socket);
            if !nobody_waits && is_sent && !self.is_answered(number) {
                return Err(format!("{} is never answered", message.name));
            }
        }
        for (thing, value) in (0..).zip(self.couch) {
            if self.is_exact() && self.last_writer(scenario, thing) != value {
                return Err(format!("thing {thing} is as command {value} left it, which was not the last"));
            }
        }
        Ok(())
    }
}
