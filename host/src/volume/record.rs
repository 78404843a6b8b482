//! The record of the volume on the machine's own disk: which step was begun last. It is written before the step
//! is taken, so it may be one step ahead of what was done, and never behind.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use trove_couchdb_protocol::host::HostError;

use super::{device::Identity, tools::failed};
use crate::policy::FileSystem;

/// The record's name in `hostd.state_dir`.
const NAME: &str = "volume.json";

/// The steps of a volume's life, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeStep {
    /// The device was empty and gets a file system.
    Formatting,
    /// It has a file system.
    Formatted,
    /// CouchDB's data are copied to it. They may change meanwhile if CouchDB is started.
    Copying,
    /// The copy is complete; the old directory is renamed.
    Switching,
    /// The old directory was renamed, and the volume has its marker.
    Moved,
    /// It was mounted.
    InUse,
}

/// What is known of the volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// The last step that was begun.
    pub(super) step: VolumeStep,
    /// The file system's UUID.
    pub(super) uuid: String,
    /// The file system.
    pub(super) file_system: FileSystem,
    /// The device, as it was when it was formatted; `None` for a volume of another machine's.
    pub(super) device: Option<Identity>,
    /// The old directory of CouchDB's data, once the volume has them.
    pub(super) moved_from: Option<PathBuf>,
}

/// Reads the record. A record that can't be read is not taken for none: it may say that there is a volume.
pub(super) fn read(directory: &Path) -> Result<Option<Record>, HostError> {
    let path = directory.join(NAME);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| failed(path.display(), &error))?,
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| failed(path.display(), &error))
}

impl Record {
    /// Records a step; returns when the disk has it.
    pub(super) fn enter(&mut self, step: VolumeStep, directory: &Path) -> Result<(), HostError> {
        self.step = step;
        let path = directory.join(NAME);
        let text = serde_json::to_vec(self).map_err(|error| failed(path.display(), &error))?;
        replace(&path, &text, 0o600).map_err(|error| failed(path.display(), &error))
    }
}

/// Makes the directory, for root only.
pub(super) fn make_directory(directory: &Path) -> Result<(), HostError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| failed(directory.display(), &error))
}

/// Replaces a file in one step; returns when the disk has it.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = File::options().write(true).create(true).truncate(true).mode(mode).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_directory(path)
}

/// Waits until the disk has the directory entry of a path.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_broken_one_is_no_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), None);
        let mut record = Record {
            step: VolumeStep::Formatting,
            uuid: "u".to_owned(),
            file_system: FileSystem::Xfs,
            device: None,
            moved_from: Some("/srv/old".into()),
        };
        record.enter(VolumeStep::Copying, directory.path()).unwrap();
        assert_eq!(read(directory.path()).unwrap(), Some(record));
        fs::write(directory.path().join(NAME), "{").unwrap();
        assert!(read(directory.path()).unwrap_err().to_string().contains(NAME));
    }

    #[test]
    fn the_steps_have_an_order() {
        let steps = [
            VolumeStep::Formatting,
            VolumeStep::Formatted,
            VolumeStep::Copying,
            VolumeStep::Switching,
            VolumeStep::Moved,
            VolumeStep::InUse,
        ];
        assert!(steps.is_sorted());
    }
}
