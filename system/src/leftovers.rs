//! Leftovers of a killed agent: unfinished replacement files, which may contain `os_admin`'s password.
//!
//! They are removed at the next start if they have a name that only `atomic_file` uses and belong to the
//! agent.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

/// Prefix and suffix of the names of replacement files.
pub(super) const PREFIX: &str = ".trove-couchdb-agent-";
pub(super) const SUFFIX: &str = ".new";

/// The prefix in version 0.1, followed by six letters and digits. Used only in the agent's own directories.
const OLD_PREFIX: &str = ".tmp";
const OLD_LENGTH: usize = 10;

/// Removes leftovers from a directory, and returns their paths. `private` means that only the agent uses the
/// directory.
///
/// Blocks; call it before the agent writes anything.
pub fn remove_leftovers(directory: &Path, private: bool) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    // A file for CouchDB's `local.d` may already belong to CouchDB's account.
    let owners = [geteuid().as_raw(), fs::metadata(directory)?.uid()];
    let mut removed = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let is_named_so = name.to_str().is_some_and(|name| is_ours(name) || (private && is_old(name)));
        let found = entry.metadata()?;
        if is_named_so && found.is_file() && owners.contains(&found.uid()) {
            fs::remove_file(entry.path())?;
            removed.push(entry.path());
        }
    }
    Ok(removed)
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

fn is_old(name: &str) -> bool {
    name.len() == OLD_LENGTH
        && name
            .strip_prefix(OLD_PREFIX)
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Mutation: leftovers-stay (docs/guarantees.md).
    #[test]
    fn what_a_killed_agent_left_goes_and_nothing_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let others =
            [".tmpdir", ".tmp12345", ".tmp1234567", ".tmp-1234-", ".trove-couchdb-agent-x", "prepared.json"];
        for name in others.into_iter().chain([".tmpAb12Cd", ".trove-couchdb-agent-AbCdEf.new"]) {
            fs::write(path.join(name), "{}").unwrap();
        }
        fs::create_dir(path.join(".tmpdirect")).unwrap();
        symlink("prepared.json", path.join(".tmpAAAAAA")).unwrap();
        assert_eq!(remove_leftovers(path, false).unwrap(), [path.join(".trove-couchdb-agent-AbCdEf.new")]);
        assert_eq!(remove_leftovers(path, true).unwrap(), [path.join(".tmpAb12Cd")]);
        let mut left: Vec<&str> = others.into_iter().chain([".tmpdirect", ".tmpAAAAAA"]).collect();
        left.sort_unstable();
        assert_eq!(names(path), left);
        assert!(remove_leftovers(&path.join("missing"), true).unwrap().is_empty());
    }

    #[test]
    fn a_file_of_another_account_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(".tmpAb12Cd");
        fs::write(&file, "").unwrap();
        if geteuid().is_root() {
            chown(&file, Some(12_345), None).unwrap();
            assert!(remove_leftovers(directory.path(), true).unwrap().is_empty());
            assert!(file.exists());
        }
    }

    #[test]
    fn what_is_written_has_such_a_name_until_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        let made =
            tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).tempfile_in(directory.path()).unwrap();
        let (_file, kept) = made.keep().unwrap();
        assert_eq!(remove_leftovers(directory.path(), false).unwrap(), [kept]);
    }
}
