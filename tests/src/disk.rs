//! A small file system that a test can fill. Mounting it requires root; without root the test is skipped.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::ledger;

/// A small tmpfs, unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    /// The mount point, unless it belongs to the caller.
    directory: Option<TempDir>,
}

impl Disk {
    /// A disk on its own mount point, with a directory as CouchDB makes it. `None`, reported as skipped, if
    /// this user may not mount.
    pub fn of_mib(size: u32) -> Result<Option<Self>> {
        let directory = tempfile::tempdir()?;
        let Some(mut disk) = Self::at(directory.path(), size)? else { return Ok(None) };
        std::fs::create_dir(directory.path().join("shards"))?;
        disk.directory = Some(directory);
        Ok(Some(disk))
    }

    /// A disk on this directory.
    pub fn at(path: &Path, mib: u32) -> Result<Option<Self>> {
        let size = format!("size={mib}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(path)
            .output()
            .context("mount")?;
        if !mounted.status.success() {
            let problem = String::from_utf8_lossy(&mounted.stderr);
            ledger::skipped(&format!("a tmpfs can't be mounted: {problem}"));
            return Ok(None);
        }
        Ok(Some(Self { path: path.to_owned(), directory: None }))
    }

    /// The mount point.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that takes the space.
    pub fn filling(&self) -> PathBuf {
        self.path().join("filling")
    }

    /// Fills the disk except for one block at most.
    pub fn fill(&self) {
        self.fill_mib(u64::MAX >> 20);
    }

    /// Writes this many MiB, or as many as fit.
    pub fn fill_mib(&self, mib: u64) {
        let block = [0; 4096];
        let Ok(mut file) = OpenOptions::new().create(true).append(true).open(self.filling()) else { return };
        for _ in 0..mib.saturating_mul(256) {
            if file.write_all(&block).is_err() {
                return;
            }
        }
    }

    /// Makes room again.
    pub fn free(&self) -> Result<()> {
        std::fs::remove_file(self.filling()).context("the file that takes the space")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.path).output());
        drop(self.directory.take());
    }
}
