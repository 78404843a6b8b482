//! What is known of messages, without the disk.

use std::collections::{HashMap, HashSet, VecDeque};

use trove_couchdb_protocol::Seal;

use super::Marks;
use crate::transport::outcomes::CommandRecord;

#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) known: HashSet<Seal>,
    /// Those of `known` that may be forgotten, the oldest first.
    pub(super) order: VecDeque<Seal>,
    /// To whose id a mark belongs, and how many deliveries of that message there are.
    pub(super) under_way: HashMap<Seal, (Seal, usize)>,
    /// Not in the file of marks yet.
    pub(super) waiting: Vec<Seal>,
    /// By id. Their marks are in `known` once there is an outcome, and in `order` only after the acknowledgement.
    pub(super) unacknowledged: HashMap<Seal, Unacknowledged>,
    pub(super) keep: usize,
}

#[derive(Debug)]
pub(super) struct Unacknowledged {
    pub(super) marks: Marks,
    pub(super) record: CommandRecord,
    /// The file has it as it is here.
    pub(super) written: bool,
}

impl Memory {
    /// True if some of them are new.
    pub(super) fn remember(&mut self, marks: impl Iterator<Item = Seal>) -> bool {
        let new: Vec<Seal> = marks.filter(|seal| self.known.insert(*seal)).collect();
        self.forget_later(&new);
        !new.is_empty()
    }

    /// Known marks may be forgotten from now on, as soon as there are too many.
    pub(super) fn forget_later(&mut self, marks: &[Seal]) {
        self.order.extend(marks);
        self.waiting.extend(marks);
        while self.order.len() > self.keep {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// The record of a command, to be changed: what the file has of it is not the newest any more.
    pub(super) fn record(&mut self, marks: &Marks, id: Seal) -> &mut CommandRecord {
        let new =
            || Unacknowledged { marks: marks.clone(), record: CommandRecord::new(marks), written: false };
        let one = self.unacknowledged.entry(id).or_insert_with(new);
        one.written = false;
        &mut one.record
    }

    pub(super) fn acknowledge(&mut self, id: Seal) -> Option<Unacknowledged> {
        let gone = self.unacknowledged.remove(&id)?;
        if gone.record.outcome().is_some() {
            let marks: Vec<Seal> = gone.marks.seals().collect();
            self.forget_later(&marks);
        }
        Some(gone)
    }

    pub(super) fn records(&self, which: impl Fn(&Unacknowledged) -> bool) -> (Vec<Seal>, Vec<CommandRecord>) {
        let chosen = self.unacknowledged.iter().filter(|(_, one)| which(one));
        chosen.map(|(id, one)| (*id, one.record.clone())).unzip()
    }

    pub(super) fn are_written(&mut self, ids: &[Seal]) {
        for id in ids {
            if let Some(one) = self.unacknowledged.get_mut(id) {
                one.written = true;
            }
        }
    }
}
