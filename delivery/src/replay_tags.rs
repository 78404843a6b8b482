//! Recognises messages that were carried out, even after a restart.
//!
//! Trove's encryption has no authentication and no counter, and a message's id travels in clear: an attacker
//! can send a recorded message under another id, or combine its parts with those of another message. So the
//! agent remembers a tag for the id and for each encrypted part. A message with a known tag is not new.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::event::ReplayTag;

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
    /// The tag of the id is the first.
    tags: Vec<ReplayTag>,
    outcome: V,
}

/// The tags and outcomes of messages that were carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ReplayTags<V> {
    keep: usize,
    known: BTreeSet<ReplayTag>,
    /// The tags in `known` that may be forgotten, oldest first.
    oldest_first: VecDeque<ReplayTag>,
    /// The tags of messages in flight, with the id of each message.
    under_way: BTreeMap<ReplayTag, ReplayTag>,
    /// By id. Their tags must not be forgotten before the acknowledgement.
    records: BTreeMap<ReplayTag, Record<V>>,
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

    pub(crate) fn verdict_of(&self, id: ReplayTag, parts: &[ReplayTag]) -> ReplayVerdict<V> {
        if self.known.contains(&id) {
            return match self.records.get(&id) {
                // A message over the socket has no parts.
                Some(record) if !parts.is_empty() && record.tags.get(1..) != Some(parts) => {
                    ReplayVerdict::Forged
                }
                record => ReplayVerdict::Known(record.map(|record| record.outcome.clone())),
            };
        }
        let foreign = |tag: &ReplayTag| {
            self.known.contains(tag) || self.under_way.get(tag).is_some_and(|owner| *owner != id)
        };
        if std::iter::once(&id).chain(parts).any(foreign) {
            ReplayVerdict::Forged
        } else {
            ReplayVerdict::Fresh
        }
    }

    /// Reserves the tags of a message while it is in flight.
    pub(crate) fn hold(&mut self, id: ReplayTag, parts: &[ReplayTag]) {
        self.under_way.extend(std::iter::once(&id).chain(parts).map(|tag| (*tag, id)));
    }

    pub(crate) fn release(&mut self, id: ReplayTag, parts: &[ReplayTag]) {
        for tag in std::iter::once(&id).chain(parts) {
            if self.under_way.get(tag) == Some(&id) {
                self.under_way.remove(tag);
            }
        }
    }

    /// Records the outcome of a command whose message may be redelivered.
    pub(crate) fn record(&mut self, id: ReplayTag, parts: &[ReplayTag], outcome: V) {
        let tags: Vec<ReplayTag> = std::iter::once(id).chain(parts.iter().copied()).collect();
        self.known.extend(&tags);
        self.records.insert(id, Record { tags, outcome });
    }

    /// Handles the acknowledgement of a message. Returns whether there was a record.
    pub(crate) fn acknowledge(&mut self, id: ReplayTag) -> bool {
        let Some(gone) = self.records.remove(&id) else { return false };
        self.oldest_first.extend(&gone.tags);
        self.forget();
        true
    }

    /// Remembers tags without an outcome. Returns those that were new.
    pub(crate) fn remember(&mut self, tags: impl IntoIterator<Item = ReplayTag>) -> Vec<ReplayTag> {
        let new: Vec<ReplayTag> = tags.into_iter().filter(|tag| self.known.insert(*tag)).collect();
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

    fn tag(number: u8) -> ReplayTag {
        ReplayTag([number; 16])
    }

    #[test]
    fn parts_belong_to_the_message_that_they_came_with() {
        let mut tags: ReplayTags<u8> = ReplayTags::new(100);
        tags.hold(tag(1), &[tag(11)]);
        assert_eq!(tags.verdict_of(tag(2), &[tag(11)]), ReplayVerdict::Forged, "under way");
        assert_eq!(tags.verdict_of(tag(1), &[tag(11)]), ReplayVerdict::Fresh, "delivered twice");
        tags.record(tag(1), &[tag(11)], 7);
        tags.release(tag(1), &[tag(11)]);
        assert!(tags.none_is_under_way());
        assert_eq!(tags.verdict_of(tag(1), &[tag(11)]), ReplayVerdict::Known(Some(7)));
        assert_eq!(tags.verdict_of(tag(1), &[tag(12)]), ReplayVerdict::Forged, "not wholly the same");
        assert_eq!(tags.verdict_of(tag(2), &[tag(11)]), ReplayVerdict::Forged, "carried out");
        assert!(tags.acknowledge(tag(1)) && !tags.acknowledge(tag(1)));
        assert_eq!(tags.verdict_of(tag(1), &[tag(11)]), ReplayVerdict::Known(None));
    }

    /// Mutations: core-marks-are-kept-for-ever, core-unacknowledged-marks-are-forgotten (docs/guarantees.md).
    #[test]
    fn a_record_is_kept_until_its_acknowledgement_and_the_oldest_tags_are_forgotten() {
        let mut tags = ReplayTags::new(4);
        tags.record(tag(200), &[], 7);
        for number in 1..100 {
            assert_eq!(tags.remember([tag(number), tag(number)]), [tag(number)]);
        }
        assert_eq!(tags.verdict_of(tag(200), &[]), ReplayVerdict::Known(Some(7)));
        assert_eq!(tags.verdict_of(tag(1), &[]), ReplayVerdict::Fresh);
        assert_eq!(tags.verdict_of(tag(99), &[]), ReplayVerdict::Known(None));
        for number in 1..100 {
            tags.record(tag(number), &[], 7);
            assert!(tags.acknowledge(tag(number)));
        }
        assert_eq!(tags.known.len(), 5, "four, and the one with a record");
    }
}
