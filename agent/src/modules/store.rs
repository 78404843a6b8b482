//! The directory `modules` in the state directory: one file for each module.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tracing::warn;

use super::{Module, ModuleError, ModuleId};
use crate::system;

const DIRECTORY: &str = "modules";
const MODE: u32 = 0o600;

/// The files.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    guest_id: String,
}

impl Store {
    pub(super) fn new(state_dir: &Path, guest_id: &str) -> Self {
        Self { directory: state_dir.join(DIRECTORY), guest_id: guest_id.to_owned() }
    }

    /// All modules of this guest.
    pub(super) fn all(&self) -> Result<Vec<Module>, ModuleError> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| ModuleError::NotRead(error.to_string()))?,
        };
        let is_module = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let paths = entries.flatten().map(|entry| entry.path()).filter(is_module);
        Ok(paths.filter_map(|path| self.read_file(&path)).collect())
    }

    /// `None` if this guest does not have it.
    pub(super) fn read(&self, id: &ModuleId) -> Result<Option<Module>, ModuleError> {
        let path = self.file(id);
        match path.try_exists() {
            Ok(true) => Ok(self.read_file(&path)),
            Ok(false) => Ok(None),
            Err(error) => Err(ModuleError::NotRead(error.to_string())),
        }
    }

    /// Returns when it is on the disk.
    pub(super) fn write(&self, module: &Module) -> Result<(), ModuleError> {
        let mut signed = module.clone();
        signed.guest_id.clone_from(&self.guest_id);
        let text = serde_json::to_vec(&signed).map_err(io::Error::from);
        let written = text.and_then(|text| system::replace(&self.file(&module.id), &text, MODE));
        written.map_err(|error| ModuleError::NotWritten(error.to_string()))
    }

    pub(super) fn remove(&self, id: &ModuleId) -> Result<(), ModuleError> {
        match fs::remove_file(self.file(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ModuleError::NotWritten(error.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// A file that is not readable counts as none; the module can be applied or removed again.
    fn read_file(&self, path: &Path) -> Option<Module> {
        let read = fs::read(path).and_then(|text| Ok(serde_json::from_slice::<Module>(&text)?));
        match read {
            Ok(module) => Some(module).filter(|module| module.guest_id == self.guest_id),
            Err(error) => {
                let directory = self.directory.display();
                warn!(%error, %directory, "The record of a module can't be read; it is left alone.");
                None
            }
        }
    }

    fn file(&self, id: &ModuleId) -> PathBuf {
        self.directory.join(format!("{}.json", id.as_str()))
    }
}
