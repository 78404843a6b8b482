//! The state of the free space, and what the agent did about it.

use crate::couch::DiskUse;

/// What the agent knows of the room for CouchDB's databases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomReport {
    /// The file system, if the agent can see it.
    pub disk: Option<DiskUse>,
    /// Whether less than `room.warn_free_percent` is free.
    pub is_low: bool,
    /// The database that the agent compacts now.
    pub compacting: Option<String>,
    /// The latest result while the space was low.
    pub last: Option<Last>,
    /// The compactions that the agent ran since its start.
    pub compactions: u64,
    /// The bytes that they freed.
    pub freed: u64,
}

/// The result of the latest attempt to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// Compactions have ended, since the space became low.
    Compacted {
        /// How many.
        count: u64,
        /// The bytes that they freed.
        freed: u64,
    },
    /// No further compaction would help, after these.
    NothingToGain {
        /// How many ended before.
        count: u64,
        /// The bytes that they freed.
        freed: u64,
    },
}

impl RoomReport {
    /// Takes a new observation; returns whether a reader should be notified.
    pub(super) fn see(&mut self, disk: Option<DiskUse>, is_low: bool) -> bool {
        let percent = |disk: &Option<DiskUse>| disk.as_ref().map(DiskUse::free_percent);
        let has_changed = percent(&self.disk) != percent(&disk) || self.is_low != is_low;
        if !is_low {
            self.last = None;
        }
        self.disk = disk;
        self.is_low = is_low;
        has_changed
    }

    /// A compaction has ended.
    pub(super) fn compacted(&mut self, freed: u64) {
        let (count, before) = self.so_far();
        self.last = Some(Last::Compacted { count: count + 1, freed: before.saturating_add(freed) });
        self.compactions += 1;
        self.freed = self.freed.saturating_add(freed);
    }

    /// There is nothing more to compact.
    pub(super) fn nothing_to_gain(&mut self) {
        let (count, freed) = self.so_far();
        self.last = Some(Last::NothingToGain { count, freed });
    }

    fn so_far(&self) -> (u64, u64) {
        match self.last {
            None => (0, 0),
            Some(Last::Compacted { count, freed } | Last::NothingToGain { count, freed }) => (count, freed),
        }
    }

    /// For the status of this machine. `None` while there is enough room.
    pub fn note(&self) -> Option<String> {
        let disk = self.disk.as_ref().filter(|_| self.is_low)?;
        let compacted = |count: u64, freed: u64| format!("; {count} compaction(s) freed {} MiB", freed >> 20);
        let done = match self.last {
            None => String::new(),
            Some(Last::Compacted { count, freed }) => compacted(count, freed),
            Some(Last::NothingToGain { count: 0, .. }) => {
                "; no compaction would free space: delete databases, or enlarge the volume".to_owned()
            }
            Some(Last::NothingToGain { count, freed }) => {
                let done = compacted(count, freed);
                format!("{done}, and no other would: delete databases, or enlarge the volume")
            }
        };
        let doing = self.compacting.as_ref();
        let doing = doing.map_or_else(String::new, |database| format!("; compacting database {database:?}"));
        Some(format!("{} % of its disk is free{done}{doing}", disk.free_percent()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn disk(free: u64) -> Option<DiskUse> {
        Some(DiskUse { path: "/d".into(), free, size: 1000 })
    }

    #[test]
    fn what_was_done_is_said_while_the_space_is_low() {
        let mut report = RoomReport::default();
        assert!(report.see(disk(300), false) && report.note().is_none());
        assert!(report.see(disk(87), true));
        assert!(!report.see(disk(86), true), "readers are not woken for a part of a percent");
        assert_eq!(report.note().unwrap(), "8 % of its disk is free");
        report.compacting = Some("shop".to_owned());
        assert!(report.note().unwrap().ends_with("free; compacting database \"shop\""));
        report.compacting = None;
        report.compacted(5 << 20);
        report.compacted(7 << 20);
        assert!(report.note().unwrap().ends_with("free; 2 compaction(s) freed 12 MiB"));
        report.nothing_to_gain();
        let note = report.note().unwrap();
        assert!(note.contains("2 compaction(s) freed 12 MiB, and no other would: delete"), "{note}");
        report.see(disk(300), false);
        assert!(report.note().is_none() && report.last.is_none());
        assert_eq!((report.compactions, report.freed), (2, 12 << 20));
    }
}
