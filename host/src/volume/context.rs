//! What every step needs: the policy's answers, the record, and the device with our label.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use trove_couchdb_protocol::host::{HostError, VolumeReport, VolumeState};

use super::{
    device::{self, Device},
    mounts,
    probe::Signature,
    record::{self, Record, VolumeStep},
    tools::{self, failed, refused},
};
use crate::policy::{FileSystem, Manager, Policy, UnitName, VolumePolicy};

/// The lock's name in `hostd.state_dir`.
const LOCK: &str = "volume.lock";

/// Where the volume is mounted for work on it.
const STAGING: &str = "mnt";

/// The volume as the policy describes it.
#[derive(Debug)]
pub(super) struct Volume<'a> {
    pub(super) policy: &'a VolumePolicy,
    pub(super) mount_point: &'a Path,
    pub(super) state_dir: &'a Path,
    /// CouchDB's unit.
    pub(super) unit: Option<&'a UnitName>,
    service: &'a str,
    is_stopped: bool,
}

/// A device with our label.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) device: Device,
    pub(super) uuid: String,
    pub(super) file_system: FileSystem,
}

impl<'a> Volume<'a> {
    pub(super) fn of(policy: &'a Policy, is_stopped: bool) -> Result<Self, HostError> {
        let mount_point = policy.volume.mount_point.as_ref();
        let mount_point = mount_point.ok_or_else(|| refused("host.toml has no volume.mount_point"))?;
        let unit = match &policy.service.manager {
            Manager::Systemd { unit } => Some(unit),
            Manager::Docker { .. } | Manager::Commands { .. } => None,
        };
        Ok(Self {
            policy: &policy.volume,
            mount_point: mount_point.as_path(),
            state_dir: policy.hostd.state_dir.as_path(),
            unit,
            service: policy.service.name.as_str(),
            is_stopped,
        })
    }

    /// Waits until no other task works on the volume. Programs that a task started keep the lock, too: one that
    /// outlives its task still writes to the device.
    pub(super) fn lock(&self) -> Result<File, HostError> {
        record::make_directory(self.state_dir)?;
        let path = self.state_dir.join(LOCK);
        let wrong = |error: std::io::Error| failed(path.display(), &error);
        let file = File::options().create(true).append(true).open(&path).map_err(wrong)?;
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).map_err(|error| wrong(error.into()))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| wrong(error.into()))?;
        Ok(file)
    }

    pub(super) fn record(&self) -> Result<Option<Record>, HostError> {
        record::read(self.state_dir)
    }

    /// Refuses while CouchDB runs.
    pub(super) fn must_be_stopped(&self) -> Result<(), HostError> {
        if self.is_stopped {
            return Ok(());
        }
        Err(refused(format!("service {} runs; stop it first: service-stop", self.service)))
    }

    /// The devices with our label, among those that the policy names.
    pub(super) async fn labelled(&self) -> Result<Vec<Found>, HostError> {
        let mut found = Vec::new();
        for device in device::allowed(&self.policy.devices) {
            let signature = Signature::of(&device).await?;
            let file_system = match signature.kind.as_deref() {
                Some("ext4") => FileSystem::Ext4,
                Some("xfs") => FileSystem::Xfs,
                _ => continue,
            };
            if signature.label.as_deref() == Some(self.policy.label.as_str()) {
                let uuid = signature.uuid.unwrap_or_default();
                found.push(Found { device, uuid, file_system });
            }
        }
        Ok(found)
    }

    /// The volume, which must be attached and the only one with our label. With a record it must be the one that
    /// the record is about.
    pub(super) async fn find(&self, record: Option<&Record>) -> Result<Found, HostError> {
        let found = self.labelled().await?;
        let label = &self.policy.label;
        let names: Vec<_> = found.iter().map(|found| found.device.path.display().to_string()).collect();
        let [one] = found.as_slice() else {
            return Err(refused(if names.is_empty() {
                format!("no device of volume.devices has the label {label}; attach the volume")
            } else {
                format!(
                    "{} have the label {label}, and one may; detach or relabel the other",
                    names.join(" and ")
                )
            }));
        };
        match record {
            Some(record) if record.uuid != one.uuid => Err(refused(format!(
                "{} has the label {label} and is another volume than the one of this machine (UUID {}, not {}); attach the \
                 right one",
                names.concat(),
                one.uuid,
                record.uuid
            ))),
            _ => Ok(one.clone()),
        }
    }

    /// Mounts the volume where only this work sees it, does the work, and unmounts it.
    pub(super) async fn staged<T>(
        &self,
        found: &Found,
        options: &str,
        work: impl AsyncFnOnce(&Path) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        let staging = self.clear_staging().await?;
        found.device.must_still_be_there()?;
        let arguments = ["-t", found.file_system.name(), "-o", options].map(AsRef::<std::ffi::OsStr>::as_ref);
        let places = [found.device.path.as_os_str(), staging.as_os_str()];
        tools::must("mount", &[&arguments[..], &places].concat(), &[0]).await?;
        let done = work(&staging).await;
        let cleared = self.clear_staging().await;
        done.and_then(|done| cleared.map(|_| done))
    }

    /// Unmounts what a killed task left mounted.
    pub(super) async fn clear_staging(&self) -> Result<PathBuf, HostError> {
        let staging = self.state_dir.join(STAGING);
        record::make_directory(&staging)?;
        while mounts::at(&staging)?.is_some() {
            tools::must("umount", &[staging.as_os_str()], &[0]).await?;
        }
        Ok(staging)
    }

    /// Whether the mount point is what it seems: a directory, and no link.
    pub(super) fn must_have_directory(&self) -> Result<(), HostError> {
        let point = self.mount_point;
        match std::fs::symlink_metadata(point) {
            Ok(metadata) if metadata.is_dir() && point.canonicalize().is_ok_and(|real| real == point) => {
                Ok(())
            }
            Ok(_) => Err(refused(format!(
                "volume.mount_point {} is no directory or is reached through a link; name the directory itself",
                point.display()
            ))),
            Err(error) => Err(refused(format!(
                "volume.mount_point {} can't be used ({error}); install CouchDB first, and check couchdb.data_dir",
                point.display()
            ))),
        }
    }

    /// What there is now.
    pub(super) async fn report(&self, changed: bool) -> Result<VolumeReport, HostError> {
        let record = self.record()?;
        let mounted = mounts::at(self.mount_point)?;
        let found = self.find(record.as_ref()).await;
        let point = self.mount_point.display();
        let is_moved = record.as_ref().is_none_or(|record| record.step >= VolumeStep::Switching);
        let has_volume = record.is_some() || self.labelled().await.is_ok_and(|found| !found.is_empty());
        let (state, problem) = match (&mounted, &found) {
            (Some(mount), Ok(found)) if mount.number == found.device.number => (VolumeState::Mounted, None),
            (Some(_), _) => (VolumeState::Provided, None),
            (None, _) if !has_volume => (VolumeState::None, None),
            (None, _) if !is_moved => (VolumeState::Made, None),
            (None, Ok(found)) => {
                let device = found.device.path.display();
                let advice = "volume-mount mounts it";
                (VolumeState::Unmounted, Some(format!("{device} is not mounted on {point}; {advice}")))
            }
            (None, Err(HostError::Volume { reason })) => {
                (VolumeState::Missing, Some(format!("nothing is mounted on {point}: {reason}")))
            }
            (None, Err(error)) => (VolumeState::Missing, Some(error.to_string())),
        };
        let device = found.ok().map(|found| found.device);
        Ok(VolumeReport {
            state,
            label: self.policy.label.as_str().to_owned(),
            mount_point: point.to_string(),
            device: device.as_ref().map(|device| device.path.display().to_string()),
            size: device.map(|device| device.size),
            moved_from: record.and_then(|record| record.moved_from).map(|path| path.display().to_string()),
            problem,
            changed,
        })
    }
}
