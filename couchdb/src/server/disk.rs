//! The free space for CouchDB's databases, if they are on this machine.
//!
//! CouchDB does not report a full disk: `_up`, `_session` and every GET work as usual, and writes fail with a
//! one-word 500. CouchDB may see a different file system than the agent (a container, another host). So a
//! directory counts only if it contains CouchDB's files, or if it can't be read and CouchDB is on this
//! machine.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

const MIB: u64 = 1024 * 1024;

/// Less free space than this counts as full, whatever the configuration.
pub(crate) const FULL: u64 = MIB;

/// The agent's configuration for CouchDB's disk.
#[derive(Debug)]
pub struct Disk {
    pub(crate) configured: PathBuf,
    pub(crate) least_free: u64,
    pub(crate) couchdb_is_local: bool,
    /// CouchDB's `database_dir`, once it was requested. The inner `None`: CouchDB did not report it.
    #[allow(clippy::option_option, reason = "not asked yet, or asked and not told")]
    pub(crate) told: RwLock<Option<Option<PathBuf>>>,
}

/// The file system of CouchDB's databases has too little free space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowDisk {
    pub(crate) path: PathBuf,
    pub(crate) free: u64,
    pub(crate) wanted: u64,
}

/// The file system of CouchDB's databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUse {
    /// The directory of the databases.
    pub path: PathBuf,
    /// The bytes that CouchDB may still write.
    pub free: u64,
    /// The bytes that CouchDB could write to an empty file system.
    pub size: u64,
}

impl DiskUse {
    /// The free share in percent, rounded down.
    pub fn free_percent(&self) -> u64 {
        let share = u128::from(self.free) * 100 / u128::from(self.size.max(1));
        u64::try_from(share).unwrap_or(100)
    }
}

impl Disk {
    /// Takes `couchdb.data_dir`, for a CouchDB that does not report its directory; `couchdb.min_free_mib`;
    /// and whether `couchdb.url` is an address of this machine.
    pub fn new(configured: &Path, min_free_mib: u64, couchdb_is_local: bool) -> Self {
        let least_free = min_free_mib.saturating_mul(MIB);
        Self { configured: configured.to_owned(), least_free, couchdb_is_local, told: RwLock::default() }
    }

    /// Forgets CouchDB's answer: after an outage, a different CouchDB may answer.
    pub(crate) fn forget(&self) {
        *self.told.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl LowDisk {
    /// Whether the disk is full, so that retries are useless.
    pub(crate) fn is_full(&self) -> bool {
        self.free < FULL
    }
}

/// Whether the directory contains CouchDB's files. `None` if it can't be read.
pub(crate) fn is_couchdbs(directory: &Path) -> Option<bool> {
    match std::fs::read_dir(directory) {
        Ok(entries) => Some(entries.filter_map(Result::ok).any(|entry| {
            let name = PathBuf::from(entry.file_name());
            name.as_os_str() == "shards" || name.extension().is_some_and(|extension| extension == "couch")
        })),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(_) => Some(false),
    }
}

impl fmt::Display for LowDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, free, wanted } = self;
        write!(
            f,
            "the file system of CouchDB's databases ({}) has {} MiB free, and should have {}: delete databases, or enlarge \
             the volume",
            path.display(),
            free / MIB,
            wanted / MIB
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{CommandError, CouchError};

    #[test]
    fn only_a_directory_with_couchdbs_files_is_believed() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(is_couchdbs(directory.path()), Some(false));
        assert_eq!(is_couchdbs(&directory.path().join("elsewhere")), Some(false));
        std::fs::create_dir(directory.path().join("shards")).unwrap();
        assert_eq!(is_couchdbs(directory.path()), Some(true));
        let old = tempfile::tempdir().unwrap();
        std::fs::write(old.path().join("_users.couch"), "").unwrap();
        assert_eq!(is_couchdbs(old.path()), Some(true));
    }

    #[test]
    fn what_is_low_is_told_in_numbers() {
        let low = LowDisk { path: "/d".into(), free: 5 * MIB + 7, wanted: 64 * MIB };
        assert!(low.to_string().contains("(/d) has 5 MiB free, and should have 64:"), "{low}");
    }

    #[test]
    fn room_is_waited_for_while_there_is_some() {
        let failed = |free| CommandError::DiskFull {
            error: CouchError::Server { status: 500, reason: "internal_server_error".into() },
            disk: LowDisk { path: "/d".into(), free, wanted: 64 * MIB },
        };
        assert!(failed(FULL).is_transient());
        assert!(!failed(FULL - 1).is_transient(), "what it would be tried again for does not come by itself");
    }
}
