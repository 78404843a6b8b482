//! What is on a device, and whether it may be written to.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
};

use rustix::fs::{OFlags, makedev};
use trove_couchdb_protocol::host::HostError;

use super::{
    device::Device,
    mounts,
    tools::{self, failed, refused},
};

/// How much at the beginning and at the end of an empty device is zero.
const LOOKED_AT: u64 = 1024 * 1024;

/// blkid's exit codes: something was found, nothing was found, and several things were.
const FOUND: i32 = 0;
const NOTHING: i32 = 2;
const SEVERAL: i32 = 8;

/// What blkid finds on a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Signature {
    /// The file system, or what else it is.
    pub(super) kind: Option<String>,
    pub(super) label: Option<String>,
    pub(super) uuid: Option<String>,
    /// A partition table.
    table: Option<String>,
    is_ambiguous: bool,
}

impl Signature {
    /// Reads the device itself, not a cache of earlier results.
    pub(super) async fn of(device: &Device) -> Result<Self, HostError> {
        let arguments = ["--probe", "--output", "export"].map(AsRef::<std::ffi::OsStr>::as_ref);
        let arguments = [&arguments[..], &[device.path.as_os_str()]].concat();
        let ended = tools::must("blkid", &arguments, &[FOUND, NOTHING, SEVERAL]).await?;
        let mut found = Self { is_ambiguous: ended.status.code() == Some(SEVERAL), ..Self::default() };
        for (name, value) in
            String::from_utf8_lossy(&ended.stdout).lines().filter_map(|line| line.split_once('='))
        {
            let value = Some(value.replace('\\', ""));
            match name {
                "TYPE" => found.kind = value,
                "LABEL" => found.label = value,
                "UUID" => found.uuid = value,
                "PTTYPE" => found.table = value,
                _ => {}
            }
        }
        Ok(found)
    }

    /// What is there, in words; `None` if there is nothing.
    pub(super) fn in_words(&self) -> Option<String> {
        match (self.is_ambiguous, &self.table, &self.kind) {
            (true, ..) => Some("several signatures".to_owned()),
            (_, Some(table), _) => Some(format!("a partition table ({table})")),
            (_, _, Some(kind)) => {
                let label = self.label.as_deref().unwrap_or("none");
                Some(format!("a file system or another structure ({kind}, label {label})"))
            }
            _ if self.uuid.is_some() || self.label.is_some() => Some("something unknown".to_owned()),
            _ => None,
        }
    }
}

/// Checks that no program uses the device. None can as long as the file is open.
pub(super) fn must_be_unused(device: &Device) -> Result<File, HostError> {
    let name = device.path.display();
    let sysfs = device.sysfs();
    let parts = [vec![device.number], parts_of(device)].concat();
    if let Some(mount) = mounts::all()?.into_iter().find(|mount| parts.contains(&mount.number)) {
        return Err(refused(format!("{name} is mounted on {}", mount.point.display())));
    }
    if let Some(holder) =
        fs::read_dir(sysfs.join("holders")).ok().and_then(|mut holders| holders.next()?.ok())
    {
        let holder = holder.file_name();
        return Err(refused(format!("{name} is a part of {}", holder.display())));
    }
    if fs::read_to_string(sysfs.join("ro")).is_ok_and(|text| text.trim() != "0") {
        return Err(refused(format!("{name} can only be read")));
    }
    let exclusively = i32::try_from(OFlags::EXCL.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).write(true).custom_flags(exclusively).open(&device.path);
    file.map_err(|error| refused(format!("{name} is used by another program ({error})")))
}

/// The numbers of its partitions.
fn parts_of(device: &Device) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(device.sysfs()) else { return Vec::new() };
    let number = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("dev")).ok().filter(|_| path.join("partition").exists())?;
        let (major, minor) = text.trim().split_once(':')?;
        Some(makedev(major.parse().ok()?, minor.parse().ok()?))
    };
    entries.flatten().filter_map(|entry| number(entry.path())).collect()
}

/// Checks that there is nothing on the device: no structure that blkid knows, and no data where a file system
/// or a partition table begins and ends.
pub(super) async fn must_be_empty(device: &Device, file: &mut File) -> Result<(), HostError> {
    let name = device.path.display();
    let advice =
        "only an empty device is formatted; if nothing on it is needed, wipe it, or attach a new volume";
    if let Some(found) = Signature::of(device).await?.in_words() {
        return Err(refused(format!("{name} has {found}: {advice}")));
    }
    for start in [0, device.size.saturating_sub(LOOKED_AT)] {
        let part = read(file, start).map_err(|error| failed(name.to_string(), &error))?;
        if let Some(at) = part.iter().position(|byte| *byte != 0) {
            let at = start + u64::try_from(at).unwrap_or_default();
            return Err(refused(format!("{name} has data at byte {at}: {advice}")));
        }
    }
    Ok(())
}

fn read(file: &mut File, start: u64) -> std::io::Result<Vec<u8>> {
    let mut part = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.by_ref().take(LOOKED_AT).read_to_end(&mut part)?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_found_has_a_name() {
        let text = |text: &str| Some(text.to_owned());
        let none = Signature::default();
        assert_eq!(none.in_words(), None);
        for (found, words) in [
            (Signature { table: text("gpt"), ..none.clone() }, "a partition table (gpt)"),
            (Signature { is_ambiguous: true, ..none.clone() }, "several signatures"),
            (Signature { uuid: text("1"), ..none.clone() }, "something unknown"),
            (
                Signature { kind: text("LVM2_member"), ..none },
                "a file system or another structure (LVM2_member, label none)",
            ),
        ] {
            assert_eq!(found.in_words().as_deref(), Some(words));
        }
    }
}
