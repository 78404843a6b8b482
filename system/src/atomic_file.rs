//! Replaces a file completely or not at all, even if the power fails.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rustix::{
    fs::{Gid, Uid},
    process::geteuid,
};
use tempfile::NamedTempFile;

use super::leftovers;

/// The desired owner of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
}

/// Replaces `path` by `content` with these permission bits. Returns when the data is on disk.
///
/// Writes a new file in the same directory, syncs it, renames it, and syncs the directory: a reader sees the
/// old file or the new one. The content is never readable with wider permissions than `mode`, not even
/// briefly. Missing directories are created for the owner only.
///
/// Blocks; call it off the async threads.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let file = beside(path, content, mode, None)?;
    file.persist(path).map_err(|error| error.error)?;
    sync_directory(path)
}

/// The same for a file that another account may access immediately, as far as `mode` allows owner and group.
///
/// As root the file gets the owner and group in `owner`. Otherwise it keeps its user and gets `owner`'s
/// group: because the directory has the setgid bit, or because the process is a member.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] if neither owner nor group can be set. The old file stays as it is.
pub fn replace_as(path: &Path, content: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
    let file = beside(path, content, mode, Some(owner))?;
    file.persist(path).map_err(|error| error.error)?;
    sync_directory(path)
}

/// The same for a file that must not exist yet.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`]; the existing file stays as it is.
pub fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let file = beside(path, content, mode, None)?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync_directory(path)
}

fn beside(path: &Path, content: &[u8], mode: u32, owner: Option<Owner>) -> io::Result<NamedTempFile> {
    let directory = directory_of(path);
    if !directory.exists() {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    }
    // tempfile creates it with mode 0600.
    let created =
        tempfile::Builder::new().prefix(leftovers::PREFIX).suffix(leftovers::SUFFIX).tempfile_in(directory);
    let mut file = created.map_err(|error| in_directory(directory, &error))?;
    file.write_all(content)?;
    if let Some(owner) = owner {
        give(file.as_file(), owner)?;
    }
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// The same error without the random name of the temporary file, which is meaningless to the reader.
fn in_directory(directory: &Path, error: &io::Error) -> io::Error {
    let text = error.to_string();
    // tempfile appends the path to the system's message.
    let cause = text.split(" at path ").next().unwrap_or_default();
    io::Error::new(error.kind(), format!("no file can be made in {}: {cause}", directory.display()))
}

fn give(file: &File, owner: Owner) -> io::Result<()> {
    let now = file.metadata()?;
    let (user, group) = (Uid::from_raw(owner.user), Gid::from_raw(owner.group));
    if geteuid().is_root() {
        match rustix::fs::fchown(file, Some(user), Some(group)) {
            // Root in a container without this capability.
            Err(rustix::io::Errno::PERM) => {}
            given => return given.map_err(io::Error::from),
        }
    }
    // Not called if owner or group are already correct: the sandbox of the unit forbids `chown`.
    if now.uid() == owner.user || now.gid() == owner.group {
        return Ok(());
    }
    match rustix::fs::fchown(file, None, Some(group)) {
        Err(rustix::io::Errno::PERM) => {
            let problem = format!(
                "uid {} could not use it: only root can give a file away, and gid {} is no group of this process",
                owner.user, owner.group
            );
            Err(io::Error::new(io::ErrorKind::PermissionDenied, problem))
        }
        given => given.map_err(io::Error::from),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn content_and_mode_are_replaced_and_nothing_is_left_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/file.json");
        replace(&path, b"one", 0o644).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"x", 0o600).is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_takes_no_file_is_named_in_the_same_words_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = directory.path().join("file");
        fs::write(&nowhere, "").unwrap();
        let told = || replace(&nowhere.join("x.json"), b"x", 0o600).unwrap_err().to_string();
        assert_eq!(told(), told());
        let expected = format!("no file can be made in {}: Not a directory (os error 20)", nowhere.display());
        assert_eq!(told(), expected);
    }

    #[test]
    fn a_file_that_is_there_is_not_created_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("once");
        create(&path, b"first", 0o600).unwrap();
        assert_eq!(create(&path, b"second", 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn root_can_give_a_file_away_and_others_get_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("theirs");
        let we = fs::metadata(directory.path()).unwrap().uid();
        let owner = Owner { user: if we == 0 { 12_345 } else { 0 }, group: 12_345 };
        let given = replace_as(&path, b"x", 0o660, owner);
        if we != 0 {
            assert_eq!(given.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            assert!(!path.exists());
            return;
        }
        given.unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (12_345, 12_345));
        assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    }

    #[test]
    fn the_owner_itself_needs_no_change_of_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ours");
        let we = fs::metadata(directory.path()).unwrap();
        replace_as(&path, b"x", 0o660, Owner { user: we.uid(), group: we.gid() }).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().uid(), we.uid());
    }
}
