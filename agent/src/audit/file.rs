//! A file that is rotated by size; a few older files are kept.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Appends whole lines. `NAME` is the newest file, then `NAME.1`, and so on.
#[derive(Debug)]
pub(super) struct RotatedFile {
    path: PathBuf,
    max_bytes: u64,
    keep: usize,
    open: Option<File>,
}

impl RotatedFile {
    /// A file that is rotated before it would exceed `max_bytes`.
    pub(super) fn new(path: PathBuf, max_bytes: u64, keep: usize) -> Self {
        Self { path, max_bytes, keep, open: None }
    }

    /// Opens the file, or creates it, readable by its owner only.
    pub(super) fn open(&mut self) -> io::Result<()> {
        self.current().map(drop).map_err(|error| self.explain("opened", &error))
    }

    /// Appends one line.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let written = self.try_append(line);
        if written.is_err() {
            // Reopen it for the next line: the disk may have been replaced by then.
            self.open = None;
        }
        written.map_err(|error| self.explain("written", &error))
    }

    fn try_append(&mut self, line: &[u8]) -> io::Result<()> {
        let size = self.current()?.metadata()?.len();
        let grown = size.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        if size > 0 && grown > self.max_bytes {
            self.rotate()?;
        }
        self.current()?.write_all(line)
    }

    /// The open file. Reopens it if logrotate or an operator has moved it away.
    fn current(&mut self) -> io::Result<&mut File> {
        let still_there = self.open.as_ref().is_some_and(|open| is_at(open, &self.path));
        let file = match self.open.take().filter(|_| still_there) {
            Some(file) => file,
            None => open(&self.path)?,
        };
        Ok(self.open.insert(file))
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        for number in (1..self.keep).rev() {
            match fs::rename(self.older(number), self.older(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.older(1))
    }

    fn older(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn explain(&self, what: &str, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{} can't be {what}: {error}", self.path.display()))
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn is_at(open: &File, path: &Path) -> bool {
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (open.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => place(ours) == place(theirs),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut file = RotatedFile::new(path.clone(), 10, 2);
        for line in ["first\n", "second\n", "third\n", "a very long line\n", "last\n"] {
            file.append(line.as_bytes()).unwrap();
        }
        assert_eq!(text(&path), "last\n");
        assert_eq!(text(&directory.path().join("audit.log.1")), "a very long line\n");
        assert_eq!(text(&directory.path().join("audit.log.2")), "third\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_restart_goes_on_in_the_same_file_and_counts_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        for line in ["1234\n", "5678\n", "9\n"] {
            RotatedFile::new(path.clone(), 10, 1).append(line.as_bytes()).unwrap();
        }
        assert_eq!(text(&path), "9\n");
        assert_eq!(text(&directory.path().join("audit.log.1")), "1234\n5678\n");
    }

    #[test]
    fn only_the_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/audit.log");
        RotatedFile::new(path.clone(), 100, 1).open().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn a_file_that_was_moved_away_is_started_again_and_an_error_passes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut file = RotatedFile::new(path.clone(), 100, 1);
        file.append(b"one\n").unwrap();
        fs::rename(&path, directory.path().join("moved")).unwrap();
        file.append(b"two\n").unwrap();
        assert_eq!((text(&path), text(&directory.path().join("moved"))), ("two\n".into(), "one\n".into()));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = file.append(b"three\n").unwrap_err().to_string();
        assert!(error.contains("audit.log can't be written"), "{error}");
        fs::remove_dir(&path).unwrap();
        file.append(b"four\n").unwrap();
        assert_eq!(text(&path), "four\n");
    }
}
