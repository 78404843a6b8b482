//! The ini file that gives a CouchDB 3.x its first administrator: without one it does not start.
//!
//! Holds the hash, not the password, and is read at every start. CouchDB itself writes later changes of its
//! configuration into the last file of the chain, which may be this one: other lines are kept, and the owner of
//! the directory owns the file.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Gid, Uid};
use trove_couchdb_protocol::Secret;

use crate::{
    couch::{PasswordHash, Prf, ServerAdmin},
    system,
};

/// Read after `local.ini` and before whatever an operator adds by hand.
const FILE_NAME: &str = "10-trove-os-admin.ini";

/// CouchDB must be able to write it; nobody else needs to read it.
const MODE: u32 = 0o660;

const SECTION: &str = "[admins]";

/// The file in CouchDB's `local.d`.
#[derive(Debug, Clone)]
pub struct AdminIni {
    path: PathBuf,
}

impl AdminIni {
    /// The file in this directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join(FILE_NAME) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it gives `os_admin` this password.
    pub fn holds(&self, password: &Secret) -> io::Result<bool> {
        match fs::read_to_string(&self.path) {
            Ok(text) => {
                Ok(admin_value(&text).is_some_and(|value| PasswordHash::admin_value_fits(value, password)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives `os_admin` this password at CouchDB's next start; other lines stay.
    ///
    /// The server's version is not known before it runs, and every version understands sha1. A few rounds are
    /// enough for a password of 256 random bits.
    pub fn install(&self, password: &Secret, iterations: u32) -> io::Result<()> {
        let before = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let hash = PasswordHash::with_fresh_salt(password, Prf::Sha1, iterations);
        system::replace(&self.path, with_admin(&before, &hash.admin_value()).as_bytes(), MODE)?;
        let directory = fs::metadata(self.path.parent().unwrap_or(Path::new(".")))?;
        let (owner, group) = (Uid::from_raw(directory.uid()), Gid::from_raw(directory.gid()));
        match rustix::fs::chown(&self.path, Some(owner), Some(group)) {
            // Not root: then the agent runs as CouchDB's own user, or shares a group with it.
            Ok(()) | Err(rustix::io::Errno::PERM) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    Some((key.trim(), value.trim()))
}

fn is_section(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

/// The value of `os_admin` in `[admins]`; the last one counts.
fn admin_value(text: &str) -> Option<&str> {
    let mut inside = false;
    let mut found = None;
    for line in text.lines() {
        if is_section(line) {
            inside = line.trim() == SECTION;
        } else if inside
            && let Some((key, value)) = key_and_value(line)
            && key == ServerAdmin::OsAdmin.as_str()
        {
            found = Some(value);
        }
    }
    found
}

/// The text with the line of `os_admin` put first in a section of `[admins]`, and without its other ones.
fn with_admin(text: &str, value: &str) -> String {
    let entry = format!("{} = {value}", ServerAdmin::OsAdmin.as_str());
    let mut lines: Vec<&str> = Vec::new();
    let mut inside = false;
    let mut placed = false;
    for line in text.lines() {
        if is_section(line) {
            inside = line.trim() == SECTION;
            lines.push(line);
            if inside && !placed {
                lines.push(&entry);
                placed = true;
            }
        } else if !(inside
            && key_and_value(line).is_some_and(|(key, _)| key == ServerAdmin::OsAdmin.as_str()))
        {
            lines.push(line);
        }
    }
    if !placed {
        lines.extend([SECTION, &entry]);
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_installed_hash_fits_its_password_only() {
        let directory = tempfile::tempdir().unwrap();
        let ini = AdminIni::in_directory(directory.path());
        let (right, wrong) = (Secret::new("right"), Secret::new("wrong"));
        assert!(!ini.holds(&right).unwrap());
        ini.install(&right, 10).unwrap();
        assert!(ini.holds(&right).unwrap());
        assert!(!ini.holds(&wrong).unwrap());
        ini.install(&wrong, 10).unwrap();
        assert!(ini.holds(&wrong).unwrap() && !ini.holds(&right).unwrap());
        let text = fs::read_to_string(ini.path()).unwrap();
        assert!(!text.contains("wrong"), "the password itself is not in it");
        assert_eq!(text.matches("os_admin").count(), 1);
    }

    #[test]
    fn what_couchdb_wrote_into_it_stays() {
        let before =
            "; by CouchDB\n[admins]\nos_admin = -old\nroot = -hash\n[couchdb]\nuuid = 1\nos_admin = no\n";
        assert_eq!(
            with_admin(before, "-new"),
            "; by CouchDB\n[admins]\nos_admin = -new\nroot = -hash\n[couchdb]\nuuid = 1\nos_admin = no\n"
        );
        assert_eq!(with_admin("", "-new"), "[admins]\nos_admin = -new\n");
        assert_eq!(admin_value(before), Some("-old"));
        assert_eq!(admin_value("[other]\nos_admin = x\n"), None);
    }
}
