//! Recognises messages that were carried out, even after a restart.
//!
//! Trove's encryption has no authentication and no counter, and a message's id travels in clear: an attacker
//! can send a recorded message under another id, or combine its parts with those of another message. So the
//! agent remembers a mark for the id and for each encrypted part. A message with a known mark is not new.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::event::Mark;

/// The result of the check of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReplayVerdict<V> {
    /// The message must run.
    Fresh,
    /// The same message was carried out. `None` if it was answered.
    Known(Option<V>),
    /// The message has the id of an earlier message, or one of its parts, but not both.
    Forged,
}

/// A command whose message may be redelivered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Record<V> {
    /// The mark of the id is the first.
    marks: Vec<Mark>,
    outcome: V,
}

/// The marks and outcomes of messages that were carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ReplayTags<V> {
    keep: usize,
    known: BTreeSet<Mark>,
    /// The marks in `known` that may be forgotten, oldest first.
    oldest_first: VecDeque<Mark>,
    /// The marks of messages in flight, with the id of each message.
    under_way: BTreeMap<Mark, Mark>,
    /// By id. Their marks must not be forgotten before the acknowledgement.
    records: BTreeMap<Mark, Record<V>>,
}

impl<V: Clone> ReplayTags<V> {
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            keep,
            known: BTreeSet::new(),
            oldest_first: VecDeque::new(),
            under_way: BTreeMap::new(),
            records: BTreeMap::new(),
        }
    }

    pub(crate) fn verdict_of(&self, id: Mark, parts: &[Mark]) -> ReplayVerdict<V> {
        if self.known.contains(&id) {
            return match self.records.get(&id) {
                // A message over the socket has no parts.
                Some(record) if !parts.is_empty() && record.marks.get(1..) != Some(parts) => {
                    ReplayVerdict::Forged
                }
                record => ReplayVerdict::Known(record.map(|record| record.outcome.clone())),
            };
        }
        let foreign = |mark: &Mark| {
            self.known.contains(mark) || self.under_way.get(mark).is_some_and(|owner| *owner != id)
        };
        if std::iter::once(&id).chain(parts).any(foreign) {
            ReplayVerdict::Forged
        } else {
            ReplayVerdict::Fresh
        }
    }

    /// Reserves the marks of a message while it is in flight.
    pub(crate) fn hold(&mut self, id: Mark, parts: &[Mark]) {
        self.under_way.extend(std::iter::once(&id).chain(parts).map(|mark| (*mark, id)));
    }

    pub(crate) fn release(&mut self, id: Mark, parts: &[Mark]) {
        for mark in std::iter::once(&id).chain(parts) {
            if self.under_way.get(mark) == Some(&id) {
                self.under_way.remove(mark);
            }
        }
    }

    /// Records the outcome of a command whose message may be redelivered.
    pub(crate) fn record(&mut self, id: Mark, parts: &[Mark], outcome: V) {
        let marks: Vec<Mark> = std::iter::once(id).chain(parts.iter().copied()).collect();
        self.known.extend(&marks);
        self.records.insert(id, Record { marks, outcome });
    }

    /// Handles the acknowledgement of a message. Returns whether there was a record.
    pub(crate) fn acknowledge(&mut self, id: Mark) -> bool {
        let Some(gone) = self.records.remove(&id) else { return false };
        self.oldest_first.extend(&gone.marks);
        self.forget();
        true
    }

    /// Remembers marks without an outcome. Returns those that were new.
    pub(crate) fn remember(&mut self, marks: impl IntoIterator<Item = Mark>) -> Vec<Mark> {
        let new: Vec<Mark> = marks.into_iter().filter(|mark| self.known.insert(*mark)).collect();
        self.oldest_first.extend(&new);
        self.forget();
        new
    }

    pub(crate) fn none_is_under_way(&self) -> bool {
        self.under_way.is_empty()
    }

    fn forget(&mut self) {
        while self.oldest_first.len() > self.keep {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u8) -> Mark {
        Mark([number; 16])
    }

    #[test]
    fn parts_belong_to_the_message_that_they_came_with() {
        let mut marks: ReplayTags<u8> = ReplayTags::new(100);
        marks.hold(mark(1), &[mark(11)]);
        assert_eq!(marks.verdict_of(mark(2), &[mark(11)]), ReplayVerdict::Forged, "under way");
        assert_eq!(marks.verdict_of(mark(1), &[mark(11)]), ReplayVerdict::Fresh, "delivered twice");
        marks.record(mark(1), &[mark(11)], 7);
        marks.release(mark(1), &[mark(11)]);
        assert!(marks.none_is_under_way());
        assert_eq!(marks.verdict_of(mark(1), &[mark(11)]), ReplayVerdict::Known(Some(7)));
        assert_eq!(marks.verdict_of(mark(1), &[mark(12)]), ReplayVerdict::Forged, "not wholly the same");
        assert_eq!(marks.verdict_of(mark(2), &[mark(11)]), ReplayVerdict::Forged, "carried out");
        assert!(marks.acknowledge(mark(1)) && !marks.acknowledge(mark(1)));
        assert_eq!(marks.verdict_of(mark(1), &[mark(11)]), ReplayVerdict::Known(None));
    }

    /// Mutations: core-marks-are-kept-for-ever, core-unacknowledged-marks-are-forgotten (docs/guarantees.md).
    #[test]
    fn a_record_is_kept_until_its_acknowledgement_and_the_oldest_marks_are_forgotten() {
        let mut marks = ReplayTags::new(4);
        marks.record(mark(200), &[], 7);
        for number in 1..100 {
            assert_eq!(marks.remember([mark(number), mark(number)]), [mark(number)]);
        }
        assert_eq!(marks.verdict_of(mark(200), &[]), ReplayVerdict::Known(Some(7)));
        assert_eq!(marks.verdict_of(mark(1), &[]), ReplayVerdict::Fresh);
        assert_eq!(marks.verdict_of(mark(99), &[]), ReplayVerdict::Known(None));
        for number in 1..100 {
            marks.record(mark(number), &[], 7);
            assert!(marks.acknowledge(mark(number)));
        }
        assert_eq!(marks.known.len(), 5, "four, and the one with a record");
    }
}
