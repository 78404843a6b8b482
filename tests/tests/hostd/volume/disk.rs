//! A disk: a file behind a loop device.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use trove_couchdb_tests::test_log;

pub const MIB: u64 = 1024 * 1024;

/// Runs a program that must succeed, and returns its output.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments:?}: {error}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a mounted file system can grow here; reported as skipped if not.
pub fn grows_online(file_system: &str) -> Result<bool> {
    /// `CAP_SYS_RESOURCE`, which ext4 asks for.
    const BIT: u32 = 24;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).context("no CapEff")?;
    let grows = file_system != "ext4" || u64::from_str_radix(line.trim(), 16)? >> BIT & 1 == 1;
    if !grows {
        test_log::skipped("in part: a mounted ext4 grows only with CAP_SYS_RESOURCE, which root lacks here");
    }
    Ok(grows)
}

/// A disk of zeros; it is detached on drop.
pub struct Disk {
    file: tempfile::NamedTempFile,
    path: String,
}

impl Disk {
    /// `None`, reported as skipped, where there are no loop devices.
    pub fn new(mib: u64) -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            test_log::skipped("loop devices need root and /dev/loop-control");
            return Ok(None);
        }
        let file = tempfile::Builder::new().prefix("trove-disk-").tempfile()?;
        file.as_file().set_len(mib * MIB)?;
        let name = file.path().to_str().context("a path that is no text")?;
        match run("losetup", &["--find", "--show", name]) {
            Ok(path) => Ok(Some(Self { file, path })),
            Err(error) => {
                test_log::skipped(&format!("no loop device can be made: {error}"));
                Ok(None)
            }
        }
    }

    /// The device.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Makes the disk larger, as cinder does.
    pub fn grow(&self, mib: u64) -> Result<()> {
        self.file.as_file().set_len(mib * MIB)?;
        run("losetup", &["--set-capacity", &self.path]).map(drop)
    }

    /// Writes to the disk.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let device = File::options().write(true).open(&self.path)?;
        device.write_all_at(bytes, at)?;
        Ok(device.sync_all()?)
    }

    /// Copies another disk of the same size to this one.
    pub fn copy(&self, other: &Self) -> Result<()> {
        run("dd", &[&format!("if={}", other.path), &format!("of={}", self.path), "bs=1M", "conv=fsync"])
            .map(drop)
    }

    /// Attaches another disk of the same size by the same name.
    pub fn exchange(&mut self) -> Result<()> {
        let size = self.file.as_file().metadata()?.len();
        run("losetup", &["--detach", &self.path])?;
        self.file = tempfile::Builder::new().prefix("trove-disk-").tempfile()?;
        self.file.as_file().set_len(size)?;
        let name = self.file.path().to_str().context("a path that is no text")?.to_owned();
        run("losetup", &[&self.path, &name]).map(drop)
    }

    /// What blkid says of the disk.
    pub fn tag(&self, name: &str) -> String {
        run("blkid", &["--probe", "--output", "value", "--match-tag", name, &self.path]).unwrap_or_default()
    }

    /// A random number that each mkfs.ext4 chooses each time.
    pub fn hash_seed(&self) -> Result<String> {
        let text = run("dumpe2fs", &["-h", &self.path])?;
        let line = text.lines().find(|line| line.starts_with("Directory Hash Seed"));
        Ok(line.context("no seed")?.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for point in mounted(&self.path) {
            drop(run("umount", &[point.to_str().unwrap_or_default()]));
        }
        // A loop device that can only be read would stay so for its next file.
        drop(run("blockdev", &["--setrw", &self.path]));
        if let Err(error) = run("losetup", &["--detach", &self.path]) {
            eprintln!("{} is left: {error}", self.path);
        }
    }
}

/// Where a device is mounted.
pub fn mounted(device: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let of = |line: &str| {
        let (source, rest) = line.split_once(' ')?;
        (source == device).then(|| PathBuf::from(rest.split(' ').next().unwrap_or_default()))
    };
    mounts.lines().rev().filter_map(of).collect()
}
