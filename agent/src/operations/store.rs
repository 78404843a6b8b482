//! The directory `operations` in the state directory: two files for each operation.
//!
//! ```text
//! ID.json     the record, without secrets
//! ID.request  the arguments of the command, with passwords; removed when the operation has ended
//! ```
//!
//! Both have mode 0600. The request is written first, so that an operation with a record can be resumed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use tracing::warn;
use trove_couchdb_protocol::{OperationId, SecretMap};

use super::record::OperationRecord;
use crate::system;

const DIRECTORY: &str = "operations";
const RECORD: &str = "json";
const REQUEST: &str = "request";
const MODE: u32 = 0o600;

/// The files.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
}

impl Store {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { directory: state_dir.join(DIRECTORY) }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads all records. Removes each request that has no record, or whose operation has ended.
    pub(super) fn load(&self) -> Vec<OperationRecord> {
        let names = match fs::read_dir(&self.directory) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                warn!(%error, path = %self.directory.display(), "Can't be read: what was under way is not resumed.");
                return Vec::new();
            }
        };
        let with = |extension: &str| {
            let fits = |path: &&PathBuf| path.extension().is_some_and(|found| found == extension);
            names.iter().filter(fits).cloned().collect::<Vec<_>>()
        };
        let mut records = Vec::new();
        for path in with(RECORD) {
            match read(&path) {
                Ok(record) => records.push(record),
                Err(error) => {
                    warn!(%error, path = %path.display(), "This record of an operation can't be read; it is left alone.");
                }
            }
        }
        for path in with(REQUEST) {
            let is_needed =
                |record: &OperationRecord| record.end.is_none() && self.request(&record.request.id) == path;
            let has_record = path.with_extension(RECORD).exists();
            let may_go = records.iter().any(|record| self.request(&record.request.id) == path) || !has_record;
            if may_go && !records.iter().any(is_needed) {
                tell_leftover(&path, fs::remove_file(&path));
            }
        }
        records.sort_by(|one, other| (one.started, &one.request.id).cmp(&(other.started, &other.request.id)));
        records
    }

    /// Writes the arguments of a new operation; returns when they are on the disk.
    pub(super) fn write_request(&self, id: &OperationId, arguments: &SecretMap) -> io::Result<()> {
        system::replace(&self.request(id), &serde_json::to_vec(&**arguments)?, MODE)
    }

    pub(super) fn read_request(&self, id: &OperationId) -> io::Result<SecretMap> {
        let arguments: Map<String, Value> = serde_json::from_slice(&fs::read(self.request(id))?)?;
        Ok(arguments.into())
    }

    /// Writes a record; returns when it is on the disk. Removes the arguments if the operation has ended.
    pub(super) fn write(&self, record: &OperationRecord) -> io::Result<()> {
        system::replace(&self.record(&record.request.id), &serde_json::to_vec(record)?, MODE)?;
        if record.end.is_some() {
            remove(&self.request(&record.request.id))?;
        }
        Ok(())
    }

    pub(super) fn remove(&self, id: &OperationId) -> io::Result<()> {
        remove(&self.request(id))?;
        remove(&self.record(id))
    }

    fn record(&self, id: &OperationId) -> PathBuf {
        self.directory.join(format!("{id}.{RECORD}"))
    }

    fn request(&self, id: &OperationId) -> PathBuf {
        self.directory.join(format!("{id}.{REQUEST}"))
    }
}

/// Refuses a record whose id differs from the file's name: a copy under a new name is not a second operation.
fn read(path: &Path) -> io::Result<OperationRecord> {
    let record: OperationRecord = serde_json::from_slice(&fs::read(path)?)?;
    if path.file_stem().and_then(|stem| stem.to_str()) != Some(record.request.id.as_str()) {
        return Err(io::Error::other("it holds another operation than its name says"));
    }
    Ok(record)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn tell_leftover(path: &Path, removed: io::Result<()>) {
    if let Err(error) = removed {
        warn!(%error, path = %path.display(), "The arguments of an operation that is over can't be removed.");
    }
}
