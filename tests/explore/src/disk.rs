//! The state that survives the process: records of commands, and marks of messages.

use std::collections::{BTreeMap, BTreeSet};

use trove_couchdb_delivery::{Mark, Resumed};

use crate::scenario::{Bits, Message};

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
        let new = Operation { marks, handed_over, outcome: None, is_told: false };
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

    /// Operations whose end was not reported.
    pub(crate) fn unfinished(&self) -> Vec<u8> {
        let untold = self.operations.iter().filter(|(_, operation)| !operation.is_told);
        untold.map(|(number, _)| *number).collect()
    }

    /// Whether the end of an operation is stored.
    pub(crate) fn has_end(&self, operation: u8) -> bool {
        self.operations.get(&operation).is_some_and(|operation| operation.outcome.is_some())
    }

    /// Whether a command has begun and not ended.
    pub(crate) fn is_open(&self, id: Mark) -> bool {
        self.records.get(&id).is_some_and(|record| record.outcome.is_none())
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

    pub(crate) fn resumed(&self, messages: &[Message]) -> Resumed<Bits, u8> {
        let mut resumed = Resumed { marks: self.marks.iter().copied().collect(), ..Resumed::default() };
        for (id, record) in &self.records {
            match record.outcome {
                Some(outcome) => resumed.ended.push((record.marks.clone(), outcome)),
                None => resumed.interrupted.push((*id, record.scopes)),
            }
        }
        for (number, operation) in &self.operations {
            // Its message's record may have no outcome yet, so the operation has priority.
            resumed.interrupted.retain(|(id, _)| operation.marks.first() != Some(id));
            if operation.marks.first().is_some_and(|id| !self.marks.contains(id)) {
                resumed.ended.push((operation.marks.clone(), operation.handed_over));
            }
            if let Some(outcome) = operation.outcome {
                let message = &messages[usize::from(*number)];
                resumed.ended.push((vec![message.mark()], outcome));
            }
        }
        resumed
    }
}
