//! Block devices: those that `host.toml` names, and what tells one from another.
//!
//! A name proves nothing: `/dev/vdb` may be another disk after a reboot, and a link may lead anywhere. So each
//! name is resolved, and from then on the device's number counts.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{major, minor};
use serde::{Deserialize, Serialize};
use trove_couchdb_protocol::host::{DevicePath, HostError};

use super::tools::{failed, refused};
use crate::policy::DevicePattern;

/// A block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    /// The resolved path.
    pub(super) path: PathBuf,
    /// The number.
    pub(super) number: u64,
    /// The size in bytes.
    pub(super) size: u64,
}

/// What tells a device from another of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    size: u64,
    /// The serial number. For a disk of the cloud this is the beginning of the volume's id.
    serial: Option<String>,
    /// The kernel's number for this attachment of a disk. It is never given twice between two boots.
    sequence: Option<String>,
    boot: String,
}

impl Identity {
    /// Whether both are of the same disk for certain.
    pub(super) fn is_that_of(&self, other: &Self) -> bool {
        let is_same_serial = self.serial.is_some() && self.serial == other.serial;
        let is_same_attachment =
            self.sequence.is_some() && (&self.sequence, &self.boot) == (&other.sequence, &other.boot);
        let no_serials = self.serial.is_none() && other.serial.is_none();
        self.size == other.size && (is_same_serial || no_serials && is_same_attachment)
    }
}

impl Device {
    /// The device behind a path; `None` if it is none, or leaves `/dev`.
    fn at(path: &Path) -> Option<Self> {
        let path = path.canonicalize().ok().filter(|path| path.starts_with("/dev"))?;
        let metadata = fs::metadata(&path).ok().filter(|metadata| metadata.file_type().is_block_device())?;
        let size = File::open(&path).and_then(|mut file| file.seek(SeekFrom::End(0))).ok()?;
        Some(Self { path, number: metadata.rdev(), size })
    }

    /// Its directory in sysfs.
    pub(super) fn sysfs(&self) -> PathBuf {
        Path::new("/sys/dev/block").join(format!("{}:{}", major(self.number), minor(self.number)))
    }

    /// What distinguishes it from a different device.
    pub(super) fn identity(&self) -> Identity {
        let sysfs = self.sysfs();
        let read = |name: &str| {
            let text = fs::read_to_string(sysfs.join(name)).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        Identity {
            size: self.size,
            serial: ["serial", "wwid", "device/wwid"].iter().find_map(|name| read(name)),
            sequence: read("diskseq"),
            boot: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
        }
    }

    /// Checks that its path still leads to it.
    pub(super) fn must_still_be_there(&self) -> Result<(), HostError> {
        match Self::at(&self.path) {
            Some(now) if now == *self => Ok(()),
            _ => Err(refused(format!("{} has become another device meanwhile", self.path.display()))),
        }
    }
}

/// The devices that `host.toml` names and that exist, by their paths.
pub(super) fn allowed(patterns: &[DevicePattern]) -> Vec<Device> {
    let mut found: Vec<Device> = Vec::new();
    for pattern in patterns {
        found.extend(matching(pattern.as_str()).iter().filter_map(|path| Device::at(path)));
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found.dedup_by_key(|device| device.number);
    found
}

/// The device that a request names, if it is one of those that `host.toml` names.
pub(super) fn chosen(patterns: &[DevicePattern], hint: &DevicePath) -> Result<Device, HostError> {
    let allowed = allowed(patterns);
    let asked = Device::at(Path::new(hint.as_str()));
    let found = asked.filter(|asked| allowed.iter().any(|device| device.number == asked.number));
    found.ok_or_else(|| {
        let named: Vec<&str> = patterns.iter().map(DevicePattern::as_str).collect();
        let there: Vec<_> = allowed.iter().map(|device| device.path.display().to_string()).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        let (what, named) = (hint.as_str().to_owned(), named.join(", "));
        HostError::NotAllowed {
            what,
            advice: format!("volume.devices is {named}; of these there is {there}; correct volume.devices, or Trove's device_path"),
        }
    })
}

/// Lets the kernel check whether a SCSI disk has grown. Other disks say so by themselves.
pub(super) fn rescan(device: &Device) -> Result<(), HostError> {
    let path = device.sysfs().join("device/rescan");
    if !path.exists() {
        return Ok(());
    }
    fs::write(&path, "1").map_err(|error| failed(path.display(), &error))
}

/// The paths that match a pattern, whose `*` match within one name.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = found.iter().flat_map(|directory| matches_in(directory, part)).collect();
    }
    found
}

fn matches_in(directory: &Path, part: &str) -> Vec<PathBuf> {
    if !part.contains('*') {
        return vec![directory.join(part)];
    }
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_match(part, name)).map(|name| directory.join(name)).collect()
}

/// Whether a name fits a pattern in which `*` stands for any characters.
fn is_match(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(before) else { return false };
    (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| is_match(after, rest)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn identity(size: u64, serial: Option<&str>, sequence: Option<&str>, boot: &str) -> Identity {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Identity { size, serial: owned(serial), sequence: owned(sequence), boot: boot.to_owned() }
    }

    #[test]
    fn a_star_matches_within_a_name() {
        for (pattern, name, fits) in [
            ("vd*", "vdb", true),
            ("vd*", "sdb", false),
            ("*b", "vdb", true),
            ("v*b*", "vdb1", true),
            ("vdb", "vdb1", false),
            ("virtio-*-x", "virtio-x", false),
        ] {
            assert_eq!(is_match(pattern, name), fits, "{pattern} {name}");
        }
        assert_eq!(matching("/dev/nul*"), [PathBuf::from("/dev/null")]);
        assert!(matching("/dev/*/nowhere").iter().all(|path| Device::at(path).is_none()));
    }

    #[test]
    fn what_is_no_block_device_is_none() {
        assert_eq!(Device::at(Path::new("/dev/null")), None);
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert_eq!(Device::at(&link), None);
        let hint = DevicePath::try_from("/dev/null".to_owned()).unwrap();
        let patterns = [DevicePattern::try_from("/dev/null".to_owned()).unwrap()];
        let error = chosen(&patterns, &hint).unwrap_err().to_string();
        assert!(
            error.starts_with("/dev/null is not allowed by host.toml: volume.devices is /dev/null"),
            "{error}"
        );
    }

    #[test]
    fn a_disk_is_known_by_its_serial_or_within_a_boot() {
        let disk = identity(7, Some("s"), Some("3"), "a");
        assert!(disk.is_that_of(&identity(7, Some("s"), Some("4"), "b")));
        assert!(!disk.is_that_of(&identity(8, Some("s"), Some("3"), "a")));
        assert!(!disk.is_that_of(&identity(7, Some("t"), Some("3"), "a")));
        assert!(!disk.is_that_of(&identity(7, None, Some("3"), "a")));
        let unnamed = identity(7, None, Some("3"), "a");
        assert!(unnamed.is_that_of(&unnamed));
        assert!(!unnamed.is_that_of(&identity(7, None, Some("3"), "b")), "another boot");
        assert!(!unnamed.is_that_of(&identity(7, None, Some("4"), "a")));
        let unknown = identity(7, None, None, "a");
        assert!(!unknown.is_that_of(&unknown));
    }
}
