//! `volume-mount` and `volume-unmount`.

use trove_couchdb_protocol::host::HostError;

use super::{
    context::{Found, Volume},
    marker, mounts,
    record::{Record, VolumeStep},
    tools::{self, failed, refused},
    unit,
};
use crate::task;

/// Mounts the volume unless it is mounted. Returns whether it changed anything.
pub(super) async fn mount(volume: &Volume<'_>) -> Result<bool, HostError> {
    let record = volume.record()?;
    if record.as_ref().is_some_and(|record| record.step < VolumeStep::Moved) {
        return Err(refused("it does not have CouchDB's data yet; volume-move-data moves them"));
    }
    let found = volume.find(record.as_ref()).await?;
    let point = volume.mount_point.display();
    let is_mounted = match mounts::at(volume.mount_point)? {
        None => false,
        Some(mount) if mount.number == found.device.number => true,
        Some(_) => return Err(refused(format!("something else is mounted on {point}; unmount it"))),
    };
    if !is_mounted {
        volume.must_be_stopped()?;
        volume.must_have_directory()?;
        if record.is_none() && !volume.staged(&found, "ro", async |root| Ok(marker::is_in(root))).await? {
            let device = found.device.path.display();
            return Err(refused(format!(
                "{device} has its label and no file {}: a move of CouchDB's data to it was never finished, and its machine is \
                 gone",
                marker::NAME
            )));
        }
    }
    if task::is_booted() {
        unit::install(volume, &found.uuid, found.file_system).await?;
    }
    if !is_mounted {
        put_there(volume, &found).await?;
        let there = mounts::at(volume.mount_point)?;
        if there.is_none_or(|mount| mount.number != found.device.number) || !marker::is_in(volume.mount_point)
        {
            return Err(failed("mount", &format!("it ended, and the volume is not on {point}")));
        }
    }
    let mut record = record.unwrap_or(Record {
        step: VolumeStep::InUse,
        uuid: found.uuid,
        file_system: found.file_system,
        device: None,
        moved_from: None,
    });
    record.enter(VolumeStep::InUse, volume.state_dir)?;
    Ok(!is_mounted)
}

async fn put_there(volume: &Volume<'_>, found: &Found) -> Result<(), HostError> {
    found.device.must_still_be_there()?;
    if task::is_booted() {
        return unit::start(volume.mount_point).await;
    }
    let options = format!("{},nofail", volume.policy.options);
    let words = ["-t", found.file_system.name(), "-o", &options].map(AsRef::<std::ffi::OsStr>::as_ref);
    let places = [found.device.path.as_os_str(), volume.mount_point.as_os_str()];
    tools::must("mount", &[&words[..], &places].concat(), &[0]).await.map(drop)
}

/// Unmounts the volume if it is mounted. Returns whether it changed anything.
pub(super) async fn unmount(volume: &Volume<'_>) -> Result<bool, HostError> {
    let Some(mount) = mounts::at(volume.mount_point)? else { return Ok(false) };
    let found = volume.find(volume.record()?.as_ref()).await?;
    let point = volume.mount_point.display();
    if mount.number != found.device.number {
        return Err(refused(format!("what is mounted on {point} is not the volume")));
    }
    volume.must_be_stopped()?;
    if task::is_booted() {
        unit::stop(volume.mount_point).await?;
    } else {
        tools::must("umount", &[volume.mount_point.as_os_str()], &[0]).await?;
    }
    match mounts::at(volume.mount_point)? {
        None => Ok(true),
        Some(_) => Err(failed("umount", &format!("it ended, and something is still mounted on {point}"))),
    }
}
