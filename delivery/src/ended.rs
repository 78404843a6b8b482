//! The outcomes of this agent's last commands, for further deliveries of the same messages.

use std::collections::{BTreeMap, VecDeque};

use crate::event::{Mark, Source};

/// The outcome of a finished command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ending<V> {
    pub(crate) source: Source,
    /// `None` if only an earlier agent knew the outcome.
    pub(crate) outcome: Option<V>,
    /// The broker's message with this id must run.
    pub(crate) failed_locally: bool,
}

/// The last outcomes. The number is limited: the oldest is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ended<V> {
    keep: usize,
    by_id: BTreeMap<Mark, Ending<V>>,
    oldest_first: VecDeque<Mark>,
}

impl<V> Ended<V> {
    pub(crate) fn new(keep: usize) -> Self {
        Self { keep, by_id: BTreeMap::new(), oldest_first: VecDeque::new() }
    }

    pub(crate) fn get(&self, id: &Mark) -> Option<&Ending<V>> {
        self.by_id.get(id)
    }

    pub(crate) fn add(&mut self, id: Mark, ending: Ending<V>) {
        if self.by_id.insert(id, ending).is_none() {
            self.oldest_first.push_back(id);
        }
        while self.oldest_first.len() > self.keep {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }
}

/// The ids of messages that this agent requeued before they had begun.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    ids: BTreeMap<Mark, usize>,
    by_age: BTreeMap<usize, Mark>,
    next: usize,
}

/// The maximum number of remembered ids.
const MOST: usize = 1_024;

impl Left {
    pub(crate) fn add(&mut self, id: Mark) {
        self.remove(&id);
        self.ids.insert(id, self.next);
        self.by_age.insert(self.next, id);
        self.next += 1;
        while self.by_age.len() > MOST {
            if let Some((_, oldest)) = self.by_age.pop_first() {
                self.ids.remove(&oldest);
            }
        }
    }

    pub(crate) fn contains(&self, id: &Mark) -> bool {
        self.ids.contains_key(id)
    }

    pub(crate) fn remove(&mut self, id: &Mark) {
        if let Some(age) = self.ids.remove(id) {
            self.by_age.remove(&age);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u8) -> Mark {
        Mark([number; 16])
    }

    /// Mutation: core-endings-are-kept-for-ever (docs/guarantees.md).
    #[test]
    fn the_oldest_endings_are_forgotten() {
        let mut ended = Ended::new(2);
        for number in 0..3 {
            ended.add(
                mark(number),
                Ending { source: Source::Broker, outcome: Some(number), failed_locally: false },
            );
        }
        assert_eq!(ended.get(&mark(0)), None);
        assert_eq!(ended.get(&mark(2)).and_then(|ending| ending.outcome), Some(2));
    }

    #[test]
    fn what_was_left_with_the_broker_is_bounded() {
        let mut left = Left::default();
        for number in 0..=MOST {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            left.add(Mark(id));
        }
        assert_eq!((left.ids.len(), left.by_age.len()), (MOST, MOST));
        assert!(!left.contains(&Mark([0; 16])));
        left.add(mark(1));
        assert!(left.contains(&mark(1)));
        left.remove(&mark(1));
        assert!(!left.contains(&mark(1)));
    }
}
