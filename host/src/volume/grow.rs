//! `volume-grow`: the file system fills its device, which has become larger. Mounted or not, and while CouchDB
//! runs.

use std::path::Path;

use trove_couchdb_protocol::host::HostError;

use super::{
    context::{Found, Volume},
    device, mounts,
    tools::{self, refused},
};
use crate::{policy::FileSystem, program::Ended};

/// Grows the file system. Returns whether it changed anything.
pub(super) async fn grow(volume: &Volume<'_>) -> Result<bool, HostError> {
    let record = volume.record()?;
    let found = volume.find(record.as_ref()).await?;
    device::rescan(&found.device)?;
    let mounted = mounts::at(volume.mount_point)?;
    let mounted = mounted.filter(|mount| mount.number == found.device.number);
    let elsewhere = mounts::all()?.into_iter().find(|mount| mount.number == found.device.number);
    if let (None, Some(mount)) = (&mounted, elsewhere) {
        let (device, point) = (found.device.path.display(), mount.point.display());
        return Err(refused(format!("{device} is mounted on {point}; unmount it there")));
    }
    match (found.file_system, mounted.is_some()) {
        (FileSystem::Ext4, true) => ext4(&found).await,
        (FileSystem::Ext4, false) => {
            // resize2fs wants it checked. 1: errors were corrected, which a fresh journal is one of.
            let check = ["-f", "-p"].map(AsRef::<std::ffi::OsStr>::as_ref);
            tools::must("e2fsck", &[&check[..], &[found.device.path.as_os_str()]].concat(), &[0, 1]).await?;
            ext4(&found).await
        }
        (FileSystem::Xfs, true) => xfs(volume.mount_point).await,
        // XFS grows only while it is mounted.
        (FileSystem::Xfs, false) => volume.staged(&found, "noatime,nodev,nosuid,noexec", xfs).await,
    }
}

async fn ext4(found: &Found) -> Result<bool, HostError> {
    Ok(says(&tools::must("resize2fs", &[found.device.path.as_os_str()], &[0]).await?, " is now "))
}

async fn xfs(mount_point: &Path) -> Result<bool, HostError> {
    Ok(says(&tools::must("xfs_growfs", &[mount_point.as_os_str()], &[0]).await?, "data blocks changed"))
}

fn says(ended: &Ended, words: &str) -> bool {
    ended.output().contains(words)
}
