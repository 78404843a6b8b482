//! Compares two trees of files: names, kinds, owners, modes, times, and every byte.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::fs::{Advice, fadvise};

/// How much is compared at a time.
const CHUNK: usize = 256 * 1024;

/// The first difference, with its path; `None` if there is none. `ignored` names are passed over at the top of
/// the copy.
pub(super) fn difference(original: &Path, copy: &Path, ignored: &[&str]) -> io::Result<Option<String>> {
    let (left, right) = (fs::symlink_metadata(original)?, fs::symlink_metadata(copy)?);
    if let Some(part) = other_part(&left, &right) {
        return Ok(Some(format!("{}: another {part}", original.display())));
    }
    let kind = left.file_type();
    if kind.is_dir() {
        return of_directories(original, copy, ignored);
    }
    let is_same = if kind.is_symlink() {
        fs::read_link(original)? == fs::read_link(copy)?
    } else {
        !kind.is_file() || is_same_content(original, copy)?
    };
    Ok((!is_same).then(|| format!("{}: another content", original.display())))
}

fn of_directories(original: &Path, copy: &Path, ignored: &[&str]) -> io::Result<Option<String>> {
    let (left, mut right) = (entries(original)?, entries(copy)?);
    right.retain(|name| !ignored.iter().any(|ignored| name == ignored) || left.contains(name));
    if let Some(name) =
        left.iter().chain(right.iter()).find(|name| left.contains(*name) != right.contains(*name))
    {
        return Ok(Some(format!("{}: it is in one of both only", original.join(name).display())));
    }
    for name in &left {
        if let Some(found) = difference(&original.join(name), &copy.join(name), &[])? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn entries(directory: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// The size of a directory is the file system's own.
fn other_part(left: &Metadata, right: &Metadata) -> Option<&'static str> {
    let time = |metadata: &Metadata| (metadata.mtime(), metadata.mtime_nsec());
    if left.mode() != right.mode() {
        Some("kind or mode")
    } else if (left.uid(), left.gid()) != (right.uid(), right.gid()) {
        Some("owner")
    } else if left.is_file() && left.len() != right.len() {
        Some("size")
    } else if left.is_file() && time(left) != time(right) {
        Some("time")
    } else {
        None
    }
}

fn is_same_content(original: &Path, copy: &Path) -> io::Result<bool> {
    let (mut left, mut right) = (File::open(original)?, File::open(copy)?);
    // What was just written would otherwise be read from memory, and not from the device.
    fadvise(&right, 0, None, Advice::DontNeed)?;
    let (mut one, mut other) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let read = fill(&mut left, &mut one)?;
        if read != fill(&mut right, &mut other)? || one.get(..read) != other.get(..read) {
            return Ok(false);
        }
        if read < CHUNK {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{os::unix::fs::PermissionsExt, process::Command, time::SystemTime};

    use super::*;

    /// A tree and its copy, and then one change of the copy.
    fn after(change: fn(&Path)) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let (original, copy) = (directory.path().join("a"), directory.path().join("b"));
        fs::create_dir_all(original.join("shards")).unwrap();
        fs::write(original.join("shards/big"), vec![7; CHUNK + 1]).unwrap();
        fs::write(original.join("_dbs.couch"), "x").unwrap();
        std::os::unix::fs::symlink("_dbs.couch", original.join("link")).unwrap();
        let copied = Command::new("cp").args(["-a", "-T"]).arg(&original).arg(&copy).status().unwrap();
        assert!(copied.success());
        fs::create_dir(copy.join("lost+found")).unwrap();
        change(&copy);
        difference(&original, &copy, &["lost+found"]).unwrap()
    }

    fn keep_time(path: &Path, change: impl FnOnce()) {
        let time = fs::metadata(path).unwrap().modified().unwrap();
        change();
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    /// A change of a copy, and a part of what is found.
    type Change = (fn(&Path), &'static str);

    #[test]
    fn every_difference_is_found() {
        assert_eq!(after(|_| {}), None);
        let changes: [Change; 7] = [
            (|copy| fs::remove_file(copy.join("link")).unwrap(), "link: it is in one"),
            (|copy| fs::write(copy.join("shards/more"), "").unwrap(), "more: it is in one"),
            (
                |copy| {
                    let path = copy.join("shards/big");
                    let mut content = vec![7; CHUNK + 1];
                    content[CHUNK] = 8;
                    keep_time(&path, || fs::write(&path, content).unwrap());
                },
                "big: another content",
            ),
            (|copy| fs::write(copy.join("_dbs.couch"), "xy").unwrap(), "_dbs.couch: another size"),
            (
                |copy| {
                    let file = File::options().write(true).open(copy.join("_dbs.couch")).unwrap();
                    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
                },
                "_dbs.couch: another time",
            ),
            (
                |copy| fs::set_permissions(copy.join("shards"), PermissionsExt::from_mode(0o700)).unwrap(),
                "shards: another kind or mode",
            ),
            (
                |copy| {
                    fs::remove_file(copy.join("link")).unwrap();
                    std::os::unix::fs::symlink("elsewhere", copy.join("link")).unwrap();
                },
                "link: another content",
            ),
        ];
        for (change, words) in changes {
            let found = after(change).unwrap();
            assert!(found.contains(words), "{found}");
        }
    }
}
