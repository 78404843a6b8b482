//! `[volume]`: the block device of CouchDB's data.

use std::time::Duration;

use serde::Deserialize;
use trove_couchdb_protocol::host::Section;

use super::{
    AbsolutePath, DevicePattern, FileSystem, MountOptions, VolumeLabel,
    bounds::{known, seconds},
};

/// `[volume]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePolicy {
    /// The allowed verbs, by name.
    pub allow: Vec<String>,
    /// The block devices that may be used.
    pub devices: Vec<DevicePattern>,
    /// The mount point of the volume.
    pub mount_point: Option<AbsolutePath>,
    /// The file system that is made.
    pub file_system: FileSystem,
    /// The label by which the volume is found.
    pub label: VolumeLabel,
    /// The mount options, besides `nofail`.
    pub options: MountOptions,
    /// The time limit for a verb whose work depends on the amount of data.
    pub timeout: Duration,
}

/// `[volume]` as it is written.
#[allow(clippy::struct_field_names)] // the names of the keys
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    devices: Vec<DevicePattern>,
    mount_point: Option<AbsolutePath>,
    #[serde(default = "file_system")]
    file_system: FileSystem,
    #[serde(default = "label")]
    label: String,
    #[serde(default = "options")]
    options: String,
    #[serde(default = "timeout")]
    timeout: u64,
}

impl Default for File {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            devices: Vec::new(),
            mount_point: None,
            file_system: file_system(),
            label: label(),
            options: options(),
            timeout: timeout(),
        }
    }
}

fn file_system() -> FileSystem {
    FileSystem::Ext4
}

fn label() -> String {
    "trovecouchdb".to_owned()
}

/// CouchDB runs no program of its data directory, and never asks for the time of an access.
fn options() -> String {
    "noatime,nodev,nosuid,noexec".to_owned()
}

fn timeout() -> u64 {
    3600
}

impl File {
    pub(super) fn judged(self, data_dir: Option<&AbsolutePath>) -> Result<VolumePolicy, String> {
        let allow = known(Section::Volume, self.allow)?;
        if !allow.is_empty() && (self.devices.is_empty() || self.mount_point.is_none()) {
            let needs = "volume.devices and volume.mount_point";
            return Err(format!(
                "volume.allow needs {needs}: which devices may be used, and where they are mounted"
            ));
        }
        if let (false, Some(mount_point), Some(data_dir)) = (allow.is_empty(), &self.mount_point, data_dir)
            && !data_dir.as_path().starts_with(mount_point.as_path())
        {
            let (data_dir, mount_point) = (data_dir.as_path().display(), mount_point.as_path().display());
            return Err(format!(
                "couchdb.data_dir {data_dir} is not below volume.mount_point {mount_point}, so the volume would be empty; \
                 correct one of them"
            ));
        }
        Ok(VolumePolicy {
            allow,
            devices: self.devices,
            mount_point: self.mount_point,
            file_system: self.file_system,
            label: VolumeLabel::try_from(self.label).map_err(|error| format!("volume.label: {error}"))?,
            options: MountOptions::try_from(self.options)
                .map_err(|error| format!("volume.options: {error}"))?,
            timeout: seconds("volume.timeout", self.timeout, 1, 86_400)?,
        })
    }
}
