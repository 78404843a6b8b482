//! `volume-move-data`: CouchDB's data from the machine's own disk to the volume.
//!
//! The data are copied and compared. Then their old directory is renamed, in one step, and an empty one that
//! only root can use takes its place: from then on CouchDB runs on the volume or not at all. The old data
//! stay; an operator removes them.

mod compare;

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{statvfs, syncfs};
use trove_couchdb_protocol::host::HostError;

use super::{
    context::Volume,
    marker, mounts,
    record::{Record, VolumeStep, sync_directory},
    tools::{self, failed, refused},
    unit,
};
use crate::task;

/// What mkfs.ext4 makes in every file system.
const LOST_FOUND: &str = "lost+found";

/// Moves the data unless that was done before. Returns whether it changed anything.
pub(super) async fn move_data(volume: &Volume<'_>) -> Result<bool, HostError> {
    let record = volume.record()?;
    let Some(mut record) = record.filter(|record| record.step > VolumeStep::Formatting) else {
        return Err(refused("this machine has made no volume; volume-format makes it"));
    };
    let found = volume.find(Some(&record)).await?;
    if record.step >= VolumeStep::Moved {
        return Ok(false);
    }
    volume.must_be_stopped()?;
    let old = moved_to(volume.mount_point, &record);
    let was_renamed = record.step == VolumeStep::Switching && old.exists();
    if !was_renamed {
        volume.must_have_directory()?;
    }
    must_have_no_mounts(volume.mount_point)?;
    let source = if was_renamed { old.clone() } else { volume.mount_point.to_owned() };
    if !was_renamed {
        if old.exists() {
            return Err(refused(format!("{} is in the way; move it elsewhere", old.display())));
        }
        record.enter(VolumeStep::Copying, volume.state_dir)?;
    } else if !is_empty(volume.mount_point) {
        let (old, point) = (old.display(), volume.mount_point.display());
        return Err(refused(format!(
            "CouchDB's data were in {old}, and {point} has files again; find out who wrote them, and move them elsewhere"
        )));
    }
    volume
        .staged(&found, "noatime,nodev,nosuid,noexec", async |copy| {
            copy_data(&source, copy).await?;
            if !was_renamed {
                record.moved_from = Some(old.clone());
                record.enter(VolumeStep::Switching, volume.state_dir)?;
                let renamed = fs::rename(volume.mount_point, &old);
                renamed.map_err(|error| failed(volume.mount_point.display(), &error))?;
            }
            leave_nothing(volume.mount_point)?;
            if task::is_booted() {
                unit::guard(volume).await?;
            }
            marker::write(copy)
        })
        .await?;
    record.enter(VolumeStep::Moved, volume.state_dir)?;
    Ok(true)
}

/// The old directory's new name.
fn moved_to(mount_point: &Path, record: &Record) -> PathBuf {
    let mut name = mount_point.file_name().unwrap_or_default().to_owned();
    let uuid: String = record.uuid.chars().take(8).collect();
    name.push(format!(".before-{uuid}"));
    mount_point.with_file_name(name)
}

/// What is mounted on or below the directory would be copied or hidden.
fn must_have_no_mounts(directory: &Path) -> Result<(), HostError> {
    match mounts::all()?.into_iter().find(|mount| mount.point.starts_with(directory)) {
        None => Ok(()),
        Some(mount) => {
            Err(refused(format!("something is mounted on {}; unmount it first", mount.point.display())))
        }
    }
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none())
}

/// An empty directory as the mount point, which CouchDB's account can't use.
fn leave_nothing(mount_point: &Path) -> Result<(), HostError> {
    let made = match DirBuilder::new().mode(0o000).create(mount_point) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    let synced = made.and_then(|()| sync_directory(mount_point));
    synced.map_err(|error| failed(mount_point.display(), &error))
}

/// Copies everything, from the start: the data may have changed since an interrupted copy.
async fn copy_data(source: &Path, copy: &Path) -> Result<(), HostError> {
    let wrong = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| failed(path.clone(), &error)
    };
    for entry in fs::read_dir(copy).map_err(wrong(copy))? {
        let path = entry.map_err(wrong(copy))?.path();
        if path.file_name() == Some(OsStr::new(LOST_FOUND)) {
            continue;
        }
        let is_directory = path.symlink_metadata().map_err(wrong(&path))?.is_dir();
        let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(wrong(&path))?;
    }
    let needed = size_of(source).map_err(wrong(source))?;
    let room = statvfs(copy).map_err(|error| failed(copy.display(), &error))?;
    let room = room.f_bavail.saturating_mul(room.f_frsize);
    if needed >= room {
        return Err(refused(format!(
            "CouchDB's data in {} take {needed} bytes, and the volume has room for {room}; attach a larger volume, or \
             compact the databases",
            source.display()
        )));
    }
    let options = ["--archive", "--one-file-system", "--no-target-directory", "--"].map(OsStr::new);
    tools::must("cp", &[&options[..], &[source.as_os_str(), copy.as_os_str()]].concat(), &[0]).await?;
    let synced = File::open(copy).and_then(|directory| Ok(syncfs(directory)?));
    synced.map_err(wrong(copy))?;
    match compare::difference(source, copy, &[LOST_FOUND, marker::NAME]).map_err(wrong(source))? {
        None => Ok(()),
        Some(found) => Err(failed(
            "the copy of CouchDB's data",
            &format!("it differs: {found}; CouchDB's data are untouched"),
        )),
    }
}

/// The bytes that a tree takes on the disk.
fn size_of(path: &Path) -> std::io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    let mut size = metadata.blocks().saturating_mul(512);
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            size = size.saturating_add(size_of(&entry?.path())?);
        }
    }
    Ok(size)
}
