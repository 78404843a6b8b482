//! The file that says that a volume holds CouchDB's data. A volume without it was formatted, and perhaps got a
//! part of them.

use std::path::{Path, PathBuf};

use trove_couchdb_protocol::host::HostError;

use super::{record::replace, tools::failed};

/// The marker's name in the root of the volume.
pub(super) const NAME: &str = ".trove-couchdb-volume";

/// It holds no secret: CouchDB's container image opens all files to everybody.
const CONTENT: &[u8] = b"{\"version\": 1}\n";

fn path(root: &Path) -> PathBuf {
    root.join(NAME)
}

/// Whether the volume that is mounted there is marked.
pub(super) fn is_in(root: &Path) -> bool {
    path(root).is_file()
}

/// Marks the volume that is mounted there.
pub(super) fn write(root: &Path) -> Result<(), HostError> {
    replace(&path(root), CONTENT, 0o644).map_err(|error| failed(path(root).display(), &error))
}
