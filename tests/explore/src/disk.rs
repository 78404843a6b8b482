//! The state that survives the process: records of commands, and marks of messages.

use std::collections::{BTreeMap, BTreeSet};

use trove_couchdb_delivery::{Mark, Resumed, Source, StoredCommand, StoredOperation, resume};

use crate::scenario::{Bits, Message, Scenario};

/// A command that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Record {
    marks: Vec<Mark>,
    scopes: Bits,
    outcome: Option<u8>,
}

/// A long command that continues without its message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Operation {
    /// The marks of its message.
    marks: Vec<Mark>,
    /// The answer to its sender.
    handed_over: u8,
    outcome: Option<u8>,
    is_told: bool,
    is_cancelled: bool,
}

/// The state directory, which survives the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
    /// Operations by number.
    operations: BTreeMap<u8, Operation>,
    records: BTreeMap<Mark, Record>,
    marks: BTreeSet<Mark>,
}

impl Disk {
    pub(crate) fn begin(&mut self, message: &Message) {
        self.record(message).outcome = None;
    }

    pub(crate) fn end(&mut self, message: &Message, outcome: u8) {
        self.record(message).outcome = Some(outcome);
    }

    /// Stores the operation of a long command; keeps an existing one.
    pub(crate) fn hand_over(&mut self, message: &Message, operation: u8, handed_over: u8) {
        let marks = std::iter::once(message.mark()).chain(message.parts()).collect();
        let new = Operation { marks, handed_over, outcome: None, is_told: false, is_cancelled: false };
        self.operations.entry(operation).or_insert(new);
    }

    pub(crate) fn end_operation(&mut self, operation: u8, outcome: u8) {
        if let Some(operation) = self.operations.get_mut(&operation) {
            operation.outcome = Some(outcome);
        }
    }

    pub(crate) fn operation_is_told(&mut self, operation: u8) {
        if let Some(operation) = self.operations.get_mut(&operation) {
            operation.is_told = true;
        }
    }

    pub(crate) fn cancel_operation(&mut self, operation: u8) {
        if let Some(operation) = self.operations.get_mut(&operation) {
            operation.is_cancelled = true;
        }
    }

    pub(crate) fn is_cancelled(&self, operation: u8) -> bool {
        self.operations.get(&operation).is_some_and(|operation| operation.is_cancelled)
    }

    /// Whether an operation is stored and has not ended.
    pub(crate) fn is_under_way(&self, operation: u8) -> bool {
        self.operations.get(&operation).is_some_and(|operation| operation.outcome.is_none())
    }

    pub(crate) fn is_told(&self, operation: u8) -> bool {
        self.operations.get(&operation).is_some_and(|operation| operation.is_told)
    }

    /// The first operation whose end was not reported, except for some.
    pub(crate) fn untold(&self, except: u8) -> Option<u8> {
        let untold =
            |(number, operation): &(&u8, &Operation)| !operation.is_told && except & 1 << **number == 0;
        self.operations.iter().find(untold).map(|(number, _)| *number)
    }

    /// The record of a message or an operation gets unreadable.
    pub(crate) fn tear(&mut self, message: &Message, number: u8) {
        self.records.remove(&message.mark());
        self.operations.remove(&number);
    }

    /// Whether the record of a command has the marks of this message.
    pub(crate) fn is_of(&self, message: &Message) -> bool {
        let all = std::iter::once(message.mark()).chain(message.parts());
        self.records.get(&message.mark()).is_none_or(|record| record.marks.iter().copied().eq(all))
    }

    /// The end of an operation, if it is stored.
    pub(crate) fn end_of(&self, operation: u8) -> Option<u8> {
        self.operations.get(&operation)?.outcome
    }

    /// Whether a command has begun and not ended.
    pub(crate) fn is_open(&self, id: Mark) -> bool {
        self.records.get(&id).is_some_and(|record| record.outcome.is_none())
    }

    /// Whether there is a record of this message or operation.
    pub(crate) fn has_record_of(&self, message: &Message, number: u8) -> bool {
        let is_command = message.source == Source::Broker && !message.is_forged();
        (is_command && self.has_record(message.mark())) || self.operations.contains_key(&number)
    }

    /// Whether there is a record of a command.
    pub(crate) fn has_record(&self, id: Mark) -> bool {
        self.records.contains_key(&id)
    }

    fn record(&mut self, message: &Message) -> &mut Record {
        let marks = std::iter::once(message.mark()).chain(message.parts()).collect();
        let new = Record { marks, scopes: message.scopes, outcome: None };
        self.records.entry(message.mark()).or_insert(new)
    }

    /// Removes a record that is no longer needed. The marks of a command that has ended stay.
    pub(crate) fn forget(&mut self, id: Mark) {
        if let Some(gone) = self.records.remove(&id)
            && gone.outcome.is_some()
        {
            self.marks.extend(gone.marks);
        }
    }

    pub(crate) fn remember(&mut self, marks: impl IntoIterator<Item = Mark>) {
        self.marks.extend(marks);
    }

    /// Whether the disk knows that a message with this id has ended.
    pub(crate) fn knows(&self, id: Mark) -> bool {
        let is_handed_over =
            || self.operations.values().any(|operation| operation.marks.first() == Some(&id));
        let has_ended = || self.records.get(&id).is_some_and(|record| record.outcome.is_some());
        self.marks.contains(&id) || has_ended() || is_handed_over()
    }

    /// What an agent knows that starts now.
    pub(crate) fn resumed(&self, scenario: &Scenario, has_broker: bool) -> Resumed<Bits, u8> {
        let commands = self.records.values().map(|record| StoredCommand {
            marks: record.marks.clone(),
            scopes: Some(record.scopes),
            outcome: record.outcome,
        });
        let operations = self.operations.iter().map(|(number, operation)| StoredOperation {
            id: scenario.messages[usize::from(*number)].mark(),
            message: operation.marks.clone(),
            handed_over: operation.handed_over,
            end: operation.outcome,
            is_told: operation.is_told,
        });
        resume(self.marks.iter().copied().collect(), commands.collect(), operations.collect(), has_broker)
    }
}
