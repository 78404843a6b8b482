//! Which databases to compact.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::couch::{DatabaseSize, ListedDatabase};

/// A database that was compacted is left alone for this time, whatever it gained.
const AGAIN_AFTER: Duration = Duration::from_secs(6 * 3600);

/// The most databases that are remembered. A database counts only with a large gain, so there are few.
const MOST_TRIED: usize = 1000;

/// The space that stays free for other writes during a compaction.
const RESERVE: u64 = 16 << 20;

/// The most databases that one survey selects.
const MOST_BEST: usize = 16;

/// Which compactions are possible and useful.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The smallest gain in bytes.
    pub(super) min_gain: u64,
}

impl Limits {
    /// A compaction writes the active part to a new file before the old one is removed, so that must fit,
    /// with a quarter more for what is written meanwhile.
    pub(super) fn allow(self, free: u64, size: &DatabaseSize) -> bool {
        let needed = size.active.saturating_add(size.active / 4).saturating_add(RESERVE);
        let is_useful = size.gain() > 0 && size.gain() >= self.min_gain;
        is_useful && needed <= free && !size.is_compacting
    }
}

/// The databases with the largest gains.
#[derive(Debug, Default)]
pub(super) struct Best(Vec<(u64, ListedDatabase)>);

impl Best {
    pub(super) fn add(&mut self, database: ListedDatabase, gain: u64) {
        self.0.push((gain, database));
        self.0.sort_unstable_by(|left, right| right.cmp(left));
        self.0.truncate(MOST_BEST);
    }

    /// The largest gain first.
    pub(super) fn sorted(self) -> Vec<ListedDatabase> {
        self.0.into_iter().map(|(_, database)| database).collect()
    }
}

/// The databases that were compacted recently.
#[derive(Debug, Default)]
pub(super) struct Tried(HashMap<ListedDatabase, Instant>);

impl Tried {
    pub(super) fn note(&mut self, database: &ListedDatabase, now: Instant) {
        self.0.retain(|_, at| now.saturating_duration_since(*at) < AGAIN_AFTER);
        if self.0.len() < MOST_TRIED {
            self.0.insert(database.clone(), now);
        }
    }

    pub(super) fn is_recent(&self, database: &ListedDatabase, now: Instant) -> bool {
        self.0.len() >= MOST_TRIED
            || self.0.get(database).is_some_and(|at| now.saturating_duration_since(*at) < AGAIN_AFTER)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MIB: u64 = 1 << 20;

    fn name(name: &str) -> ListedDatabase {
        ListedDatabase::new(name.to_owned()).unwrap()
    }

    fn size(file: u64, active: u64) -> DatabaseSize {
        DatabaseSize { documents: 1, file: file * MIB, active: active * MIB, is_compacting: false }
    }

    #[test]
    fn a_compaction_must_fit_and_gain_enough() {
        let limits = Limits { min_gain: 10 * MIB };
        let allowed = |free: u64, size| limits.allow(free * MIB, &size);
        assert!(allowed(150, size(900, 100)));
        assert!(!allowed(140, size(900, 100)), "100, 25 and the reserve do not fit");
        assert!(!allowed(1000, size(15, 10)), "too little to gain");
        assert!(!allowed(1000, DatabaseSize { is_compacting: true, ..size(900, 1) }));
        assert!(!Limits { min_gain: 0 }.allow(u64::MAX, &size(30, 30)));
    }

    #[test]
    fn the_largest_gains_come_first() {
        let mut best = Best::default();
        for number in 0..40 {
            best.add(name(&format!("n{number}")), number * 7 % 40);
        }
        let sorted = best.sorted();
        assert_eq!(sorted.len(), MOST_BEST);
        // 17 * 7 % 40 is 39.
        assert_eq!(sorted.first().map(ListedDatabase::as_str), Some("n17"));
    }

    #[test]
    fn a_database_is_not_compacted_again_and_again() {
        let (mut tried, now) = (Tried::default(), Instant::now());
        tried.note(&name("a"), now);
        assert!(tried.is_recent(&name("a"), now) && !tried.is_recent(&name("b"), now));
        let later = now + AGAIN_AFTER;
        assert!(!tried.is_recent(&name("a"), later));
        for number in 0..MOST_TRIED {
            tried.note(&name(&format!("n{number}")), later);
        }
        assert!(tried.is_recent(&name("b"), later), "nothing more is begun than can be remembered");
    }
}
