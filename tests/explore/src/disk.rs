//! What survives the process: records of commands, and marks of messages.

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

/// The state directory. Lives longer than the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
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

    fn record(&mut self, message: &Message) -> &mut Record {
        let marks = std::iter::once(message.mark()).chain(message.parts()).collect();
        let new = Record { marks, scopes: message.scopes, outcome: None };
        self.records.entry(message.mark()).or_insert(new)
    }

    /// The record is needed no longer. The marks of one that has ended stay.
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

    /// Whether a message with this id is known to have ended.
    pub(crate) fn knows(&self, id: Mark) -> bool {
        self.marks.contains(&id) || self.records.get(&id).is_some_and(|record| record.outcome.is_some())
    }

    pub(crate) fn resumed(&self) -> Resumed<Bits, u8> {
        let mut resumed = Resumed { marks: self.marks.iter().copied().collect(), ..Resumed::default() };
        for (id, record) in &self.records {
            match record.outcome {
                Some(outcome) => resumed.ended.push((record.marks.clone(), outcome)),
                None => resumed.interrupted.push((*id, record.scopes)),
            }
        }
        resumed
    }
}
