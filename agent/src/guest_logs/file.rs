//! A log file, opened once for a command.
//!
//! Its directory belongs to another account, which could put in a link to a file that only the agent may read,
//! such as the one with `os_admin`'s password. So links are not followed, and a file with several names is
//! refused.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use md5::{Digest, Md5};
use rustix::{fs::OFlags, io::Errno};

use super::GuestLogError;

/// At most so much of the first line counts.
const LONGEST_HEADER: u64 = 1 << 20;

/// An open log file.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    file: File,
    /// Its size when it was opened. What is appended later is for the next command.
    pub(super) size: u64,
    /// MD5 of the first line in hexadecimal, by which Trove's guests recognise a file.
    pub(super) header: String,
}

impl LogFile {
    /// Opens a regular file, and reads its first line.
    pub(super) fn open(path: &Path) -> Result<Self, GuestLogError> {
        let because = |problem: &str| GuestLogError::Unreadable {
            path: path.display().to_string(),
            problem: problem.to_owned(),
        };
        let failed = |error: io::Error| match Errno::from_io_error(&error) {
            Some(Errno::LOOP) => because("is a symbolic link, which the agent does not follow"),
            Some(Errno::NOENT) => because("does not exist"),
            Some(Errno::ACCESS | Errno::PERM) => {
                because("may not be read by the agent's account; add the account to the file's group")
            }
            _ => because(&format!("can't be read: {error}")),
        };
        // Without waiting for the other end of a pipe.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(because("is not a regular file"));
        }
        if metadata.nlink() > 1 {
            return Err(because("has several names (hard links); the agent reads only a file with one"));
        }
        let header = first_line(&file).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, size: metadata.len(), header })
    }

    /// The bytes of the file from `from` on, at most `longest`, and fewer only at the end.
    pub(super) fn read(&self, from: u64, longest: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.size.saturating_sub(from)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; longest.min(left)];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = from.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
            match self.file.read_at(rest, at) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    pub(super) fn failed(&self, error: &io::Error) -> GuestLogError {
        let problem = format!("can't be read: {error}");
        GuestLogError::Unreadable { path: self.path.display().to_string(), problem }
    }
}

fn first_line(file: &File) -> io::Result<String> {
    let mut reader = BufReader::new(file.take(LONGEST_HEADER));
    let mut digest = Md5::new();
    loop {
        let read = reader.fill_buf()?;
        let end = read.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let line = read.get(..end.unwrap_or(read.len())).unwrap_or_default();
        digest.update(line);
        let (length, is_over) = (line.len(), end.is_some() || line.is_empty());
        reader.consume(length);
        if is_over {
            return Ok(hex::encode(digest.finalize()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, os::unix};

    use super::*;

    #[test]
    fn the_first_line_is_hashed_with_its_end_as_python_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let header = |text: &str| {
            fs::write(&path, text).unwrap();
            LogFile::open(&path).unwrap().header
        };
        // hashlib.md5(b'abc\n'), and of b''
        assert_eq!(header("abc\ndef\n"), "0bee89b07a248e27c83fc3d5951213c1");
        assert_eq!(header("abc\n"), "0bee89b07a248e27c83fc3d5951213c1");
        assert_eq!(header(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(header(&"x".repeat(100_000)), header(&"x".repeat(100_000)));
    }

    #[test]
    fn only_a_plain_file_with_one_name_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let told = |path: &Path| LogFile::open(path).unwrap_err().to_string();
        fs::write(place("secret"), "hunter2").unwrap();
        unix::fs::symlink(place("secret"), place("link")).unwrap();
        assert!(told(&place("link")).ends_with("is a symbolic link, which the agent does not follow"));
        assert!(LogFile::open(&place("secret")).is_ok());
        fs::hard_link(place("secret"), place("twin")).unwrap();
        assert!(told(&place("twin")).contains("has several names"));
        assert!(told(directory.path()).ends_with("is not a regular file"));
        assert!(told(&place("none")).ends_with("does not exist"));
        assert!(told(Path::new("/dev/null")).ends_with("is not a regular file"));
        let pipe = place("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success() && told(&pipe).ends_with("is not a regular file"));
    }

    #[test]
    fn what_comes_after_opening_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "one\n").unwrap();
        let file = LogFile::open(&path).unwrap();
        fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(file.read(0, 100).unwrap(), b"one\n");
        assert_eq!(file.read(2, 1).unwrap(), b"e");
        assert_eq!(file.read(9, 100).unwrap(), b"");
        fs::write(&path, "o").unwrap();
        assert_eq!(file.read(0, 100).unwrap(), b"o", "truncated meanwhile");
    }
}
