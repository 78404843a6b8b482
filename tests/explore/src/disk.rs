//! The state that survives the process: records of commands, and tags of messages.

use std::collections::{BTreeMap, BTreeSet};

use trove_couchdb_delivery::{ReplayTag, Resumed};

use crate::scenario::{Bits, Message};

/// A command that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Record {
    tags: Vec<ReplayTag>,
    scopes: Bits,
    outcome: Option<u8>,
}

/// A long command that continues without its message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Operation {
    /// The tags of its message.
    tags: Vec<ReplayTag>,
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
    records: BTreeMap<ReplayTag, Record>,
    tags: BTreeSet<ReplayTag>,
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
        let tags = std::iter::once(message.tag()).chain(message.parts()).collect();
        let new = Operation { tags, handed_over, outcome: None, is_told: false };
        self.operations.entry(operation).or_insert(new);
    }

    pub(crate) fn end_operation(&mut self, operation: u8, outcome: u8) {
        if let Some(operation) = self.operations.get_mut(&operation) {
            operation.outcome = Some(outcome);
        }
    }

    pub(crate) fn operation_is_reported(&mut self, operation: u8) {
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
    pub(crate) fn is_open(&self, id: ReplayTag) -> bool {
        self.records.get(&id).is_some_and(|record| record.outcome.is_none())
    }

    /// Whether there is a record of a command.
    pub(crate) fn has_record(&self, id: ReplayTag) -> bool {
        self.records.contains_key(&id)
    }

    fn record(&mut self, message: &Message) -> &mut Record {
        let tags = std::iter::once(message.tag()).chain(message.parts()).collect();
        let new = Record { tags, scopes: message.scopes, outcome: None };
        self.records.entry(message.tag()).or_insert(new)
    }

    /// Removes a record that is no longer needed. The tags of a command that has ended stay.
    pub(crate) fn forget(&mut self, id: ReplayTag) {
        if let Some(gone) = self.records.remove(&id)
            && gone.outcome.is_some()
        {
            self.tags.extend(gone.tags);
        }
    }

    pub(crate) fn remember(&mut self, tags: impl IntoIterator<Item = ReplayTag>) {
        self.tags.extend(tags);
    }

    /// Whether the disk knows that a message with this id has ended.
    pub(crate) fn knows(&self, id: ReplayTag) -> bool {
        let is_handed_over = || self.operations.values().any(|operation| operation.tags.first() == Some(&id));
        let has_ended = || self.records.get(&id).is_some_and(|record| record.outcome.is_some());
        self.tags.contains(&id) || has_ended() || is_handed_over()
    }

    pub(crate) fn resumed(&self, messages: &[Message]) -> Resumed<Bits, u8> {
        let mut resumed = Resumed { tags: self.tags.iter().copied().collect(), ..Resumed::default() };
        for (id, record) in &self.records {
            match record.outcome {
                Some(outcome) => resumed.ended.push((record.tags.clone(), outcome)),
                None => resumed.interrupted.push((*id, record.scopes)),
            }
        }
        for (number, operation) in &self.operations {
            // Its message's record may have no outcome yet, so the operation has priority.
            resumed.interrupted.retain(|(id, _)| operation.tags.first() != Some(id));
            if operation.tags.first().is_some_and(|id| !self.tags.contains(id)) {
                resumed.ended.push((operation.tags.clone(), operation.handed_over));
            }
            if let Some(outcome) = operation.outcome {
                let message = &messages[usize::from(*number)];
                resumed.ended.push((vec![message.tag()], outcome));
            }
        }
        resumed
    }
}
