//! `[room]`: what the agent does before the disk of CouchDB's databases is full.

use std::time::Duration;

use crate::section::section;

section! {
    /// Thresholds for the free space.
    #[derive(Debug, Clone, Copy)]
    pub struct RoomSettings = "room" {
        /// The agent warns in its log and status while less than this share of the file system is free, in percent;
        /// 0 never warns. The instance stays healthy until couchdb.min_free_mib.
        warn_free_percent: u32 = "20", in 0..=99;
        /// The agent compacts databases, one at a time and those first that gain most, while less than this share is
        /// free, in percent; 0 never compacts. It deletes nothing.
        compact_free_percent: u32 = "10", in 0..=99;
        /// A database is compacted only if at least this many MiB of its files are out of use.
        compact_min_gain_mib: u64 = "16", in 0..=1_048_576;
        /// Time between two checks of the free space.
        interval: Duration = "60", in 0.1..=3600.0;
    }
}
