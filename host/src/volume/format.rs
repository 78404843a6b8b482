//! `volume-format`: the volume's file system on an empty device.

use std::{ffi::OsStr, fs};

use trove_couchdb_protocol::host::{DevicePath, HostError};

use super::{
    context::Volume,
    device::{self, Device},
    probe::{self, Signature},
    record::{Record, VolumeStep},
    tools::{self, failed, refused},
};
use crate::policy::FileSystem;

/// Makes the file system unless it was made before. Returns whether it changed anything.
pub(super) async fn format(volume: &Volume<'_>, hint: &DevicePath) -> Result<bool, HostError> {
    match volume.record()? {
        None => first_time(volume, hint).await.map(|()| true),
        Some(record) if record.step == VolumeStep::Formatting => {
            again(volume, hint, record).await.map(|()| true)
        }
        Some(record) => volume.find(Some(&record)).await.map(|_| false),
    }
}

async fn first_time(volume: &Volume<'_>, hint: &DevicePath) -> Result<(), HostError> {
    if let Some(found) = volume.labelled().await?.first() {
        let (device, label) = (found.device.path.display(), &volume.policy.label);
        return Err(refused(format!(
            "{device} has the label {label}, and this machine did not make it: it is the volume of another. Mount it with \
             volume-mount, or detach it"
        )));
    }
    let device = device::chosen(&volume.policy.devices, hint)?;
    let mut file = probe::must_be_unused(&device)?;
    probe::must_be_empty(&device, &mut file).await?;
    // The programs want the device for themselves.
    drop(file);
    let mut record = Record {
        step: VolumeStep::Formatting,
        uuid: new_uuid()?,
        file_system: volume.policy.file_system,
        device: Some(device.identity()),
        moved_from: None,
    };
    record.enter(VolumeStep::Formatting, volume.state_dir)?;
    make(volume, &device, record, false).await
}

/// Continues a format that was interrupted. The device was empty when it began, so whatever is on it now is of
/// that format, if it is still the same device and has no structure of a different program.
async fn again(volume: &Volume<'_>, hint: &DevicePath, mut record: Record) -> Result<(), HostError> {
    let device = device::chosen(&volume.policy.devices, hint)?;
    let name = device.path.display();
    let is_the_same = record.device.as_ref().is_some_and(|known| known.is_that_of(&device.identity()));
    if !is_the_same {
        let directory = volume.state_dir.display();
        return Err(refused(format!(
            "a format was interrupted, and it is not certain that {name} is that device; if the device of that format is gone, \
             remove {directory}/volume.json, and only an empty device is formatted"
        )));
    }
    drop(probe::must_be_unused(&device)?);
    let found = Signature::of(&device).await?;
    let is_ours = found.uuid.as_ref() == Some(&record.uuid);
    if is_ours
        && found.kind.as_deref() == Some(record.file_system.name())
        && is_whole(&device, &record).await?
    {
        return record.enter(VolumeStep::Formatted, volume.state_dir);
    }
    match found.in_words() {
        Some(words) if !is_ours => Err(refused(format!(
            "a format of {name} was interrupted, and now it has {words}; it is left alone"
        ))),
        _ => make(volume, &device, record, is_ours).await,
    }
}

/// Whether the format was interrupted only after it had ended.
async fn is_whole(device: &Device, record: &Record) -> Result<bool, HostError> {
    let (program, arguments) = match record.file_system {
        FileSystem::Ext4 => ("e2fsck", ["-f", "-n"].as_slice()),
        FileSystem::Xfs => ("xfs_repair", ["-n"].as_slice()),
    };
    let arguments = with(arguments, device);
    Ok(tools::run(program, &arguments).await?.status.success())
}

async fn make(
    volume: &Volume<'_>,
    device: &Device,
    mut record: Record,
    overwrites: bool,
) -> Result<(), HostError> {
    device.must_still_be_there()?;
    let label = volume.policy.label.as_str();
    let uuid = format!("uuid={}", record.uuid);
    // The device is empty: nothing has to be discarded.
    let (program, mut arguments) = match record.file_system {
        FileSystem::Ext4 => {
            ("mkfs.ext4", vec!["-q", "-m", "1", "-E", "nodiscard", "-L", label, "-U", record.uuid.as_str()])
        }
        FileSystem::Xfs => ("mkfs.xfs", vec!["-q", "-K", "-L", label, "-m", uuid.as_str()]),
    };
    if overwrites {
        arguments.push(if record.file_system == FileSystem::Ext4 { "-F" } else { "-f" });
    }
    tools::must(program, &with(&arguments, device), &[0]).await?;
    let name = device.path.display().to_string();
    fs::File::open(&device.path).and_then(|file| file.sync_all()).map_err(|error| failed(&name, &error))?;
    let found = Signature::of(device).await?;
    if (found.uuid.as_ref(), found.label.as_deref()) != (Some(&record.uuid), Some(label)) {
        return Err(failed(program, &format!("it ended, and {name} has no file system labelled {label}")));
    }
    record.enter(VolumeStep::Formatted, volume.state_dir)
}

fn with<'a>(arguments: &'a [&'a str], device: &'a Device) -> Vec<&'a OsStr> {
    arguments.iter().map(OsStr::new).chain([device.path.as_os_str()]).collect()
}

fn new_uuid() -> Result<String, HostError> {
    let path = "/proc/sys/kernel/random/uuid";
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|error| failed(path, &error))
}
