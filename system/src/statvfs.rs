//! The usage of the database's file system.

use std::{io, path::Path};

/// The figures of `statvfs(3)` that Trove requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The block size in bytes.
    pub block_size: u64,
    /// The total number of blocks.
    pub total_blocks: u64,
    /// The number of blocks that are free for root.
    pub free_blocks: u64,
    /// The number of blocks that are free for all users.
    pub available_blocks: u64,
}

/// The usage of the file system that holds `path`, or would hold it if it does not exist.
///
/// May block on a slow file system: call it off the async threads.
pub fn usage_of(path: &Path) -> io::Result<Usage> {
    let mut known = path;
    loop {
        match rustix::fs::statvfs(known) {
            Ok(stats) => {
                return Ok(Usage {
                    // POSIX counts blocks in fragments.
                    block_size: stats.f_frsize,
                    total_blocks: stats.f_blocks,
                    free_blocks: stats.f_bfree,
                    available_blocks: stats.f_bavail,
                });
            }
            Err(rustix::io::Errno::NOENT) => match known.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => known = parent,
                _ => return Err(rustix::io::Errno::NOENT.into()),
            },
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_path_that_is_not_there_counts_for_its_parent() {
        let directory = tempfile::tempdir().unwrap();
        let here = usage_of(directory.path()).unwrap();
        let there = usage_of(&directory.path().join("not/yet")).unwrap();
        assert_eq!(here.total_blocks, there.total_blocks);
        assert!(here.total_blocks >= here.free_blocks && here.block_size > 0);
        assert!(usage_of(Path::new("relative/nowhere")).is_err());
    }
}
