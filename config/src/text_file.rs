//! Text files written by people: their content, and who can read them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use trove_couchdb_protocol::text;

use crate::error::Mistake;

/// The text of a file, including a byte order mark.
pub(crate) fn read(path: &Path) -> Result<String, Mistake> {
    let bytes = fs::read(path).map_err(|cause| Mistake::Unreadable { path: path.to_owned(), cause })?;
    text::decode(bytes).map_err(|problem| Mistake::NotText { path: path.to_owned(), problem })
}

/// Whether every local user can read the file; false if it does not exist.
pub(crate) fn is_open_to_everybody(path: &Path) -> bool {
    const READABLE_BY_OTHERS: u32 = 0o004;
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & READABLE_BY_OTHERS != 0)
}
