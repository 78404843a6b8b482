//! The ini file that gives a CouchDB 3.x its first administrator: CouchDB does not start without one.
//!
//! The file contains the hash, not the password, and CouchDB reads it at every start. CouchDB writes later
//! configuration changes into the last file of its chain, which is this file. So the agent keeps other lines
//! and makes the file usable for the owner of the directory. It reads entries for `os_admin` in other ini
//! files but never changes them.

mod read;

use std::{
    ffi::OsStr,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use trove_couchdb_protocol::Secret;

use trove_couchdb_client::{PasswordHash, Prf, ServerAdmin};
use trove_couchdb_system as system;

/// CouchDB reads the files of `local.d` in alphabetical order, and the last value wins.
/// Packages install a `10-admins.ini` there.
const FILE_NAME: &str = "zz-trove-os-admin.ini";

/// Read before `local.d`, from its parent directory. CouchDB writes its changes there if `local.d` is empty.
const LOCAL_INI: &str = "local.ini";

/// CouchDB must be able to write the file, as owner or through its group; other accounts need no access.
const MODE: u32 = 0o660;

const SECTION: &str = "[admins]";

/// The maximum number of other ini files. A package installs one or two; the agent reads them all.
const MOST_INI_FILES: usize = 1_000;
const TOO_MANY: &str = "it has more than 1000 ini files; find out who puts them there, and remove them";

/// The state of `os_admin` in CouchDB's ini files. One of the files is the agent's, for a server that does
/// not start without an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ini {
    /// No directory is configured.
    NoDirectory,
    /// No file defines `os_admin`.
    Absent,
    /// The files define a different password than the credentials file, or there is no credentials file.
    Foreign,
    /// The files define the password of the credentials file.
    Installed,
    /// The agent's file defines the password, but a different file overrides it, or CouchDB read the file at
    /// its start and still refuses the password.
    Overridden,
}

/// The agent's ini file in CouchDB's `local.d`.
#[derive(Debug, Clone)]
pub struct AdminIni {
    path: PathBuf,
    directory: PathBuf,
}

impl AdminIni {
    /// The file in this directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join(FILE_NAME), directory: directory.to_owned() }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Compares the entries for `os_admin` in all ini files with the password of the credentials file.
    pub fn look(&self, password: Option<&Secret>) -> io::Result<Ini> {
        let fits =
            |value: &String| password.is_some_and(|known| PasswordHash::admin_value_fits(value, known));
        let file = self.read_ours()?;
        let ours = file.as_ref().and_then(|(text, _)| admin_value(text)).map(str::to_owned);
        let couchdb = self.owner()?;
        let is_couchdbs = file.as_ref().is_some_and(|(_, metadata)| usable(metadata, couchdb));
        let ours_fits = ours.as_ref().is_some_and(fits);
        let before = self.read_before_ours()?;
        let strongest = self.read_after_ours()?.or_else(|| ours.clone()).or(before);
        Ok(match strongest {
            None => Ini::Absent,
            // CouchDB 3.3 leaves a deleted key behind without a value, which also overrides earlier files.
            Some(value) if value.is_empty() && !ours_fits => Ini::Absent,
            // CouchDB could not read the file and would not start, so it has to be written again.
            Some(_) if ours_fits && !is_couchdbs => Ini::Absent,
            Some(value) if fits(&value) => Ini::Installed,
            Some(_) if ours_fits => Ini::Overridden,
            Some(_) => Ini::Foreign,
        })
    }

    /// Sets `os_admin`'s password for CouchDB's next start; other lines are kept.
    ///
    /// The server's version is unknown before it runs, and every version supports sha1. A few rounds are
    /// enough for a password of 256 random bits.
    pub fn install(&self, password: &Secret, iterations: u32) -> io::Result<()> {
        let before = self.read_ours()?.map(|(text, _)| text).unwrap_or_default();
        let hash = PasswordHash::with_fresh_salt(password, Prf::Sha1, iterations);
        let owner = self.owner()?;
        system::replace_as(&self.path, with_admin(&before, &hash.admin_value()).as_bytes(), MODE, owner)
    }

    /// Updates the password of `os_admin` if the file defines a different one.
    pub fn follow(&self, password: &Secret, iterations: u32) -> io::Result<()> {
        match self.read_ours()?.as_ref().and_then(|(text, _)| admin_value(text)) {
            Some(value) if !PasswordHash::admin_value_fits(value, password) => {
                self.install(password, iterations)
            }
            _ => Ok(()),
        }
    }

    /// Every file that can change `os_admin`'s password at CouchDB's next start. A running CouchDB writes its
    /// configuration changes to one of them.
    pub fn all(&self) -> Vec<PathBuf> {
        let local_ini = self.directory.parent().map(|above| above.join(LOCAL_INI));
        let others = self.others().unwrap_or_default();
        local_ini.into_iter().chain(others).chain([self.path.clone()]).collect()
    }

    fn read_ours(&self) -> io::Result<Option<(String, Metadata)>> {
        match read::own(&self.path, self.owner()?.user) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_before_ours(&self) -> io::Result<Option<String>> {
        let local_ini = self.directory.parent().map(|above| above.join(LOCAL_INI));
        let others = self.others()?.into_iter().filter(|path| *path < self.path);
        Ok(last_value(local_ini.into_iter().chain(others)))
    }

    fn read_after_ours(&self) -> io::Result<Option<String>> {
        Ok(last_value(self.others()?.into_iter().filter(|path| *path > self.path)))
    }

    /// The other ini files of the directory, in CouchDB's reading order.
    fn others(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension() != Some(OsStr::new("ini")) || path == self.path {
                continue;
            }
            if paths.len() == MOST_INI_FILES {
                return Err(io::Error::other(TOO_MANY));
            }
            paths.push(path);
        }
        paths.sort();
        Ok(paths)
    }

    /// The owner of the directory: CouchDB's account.
    fn owner(&self) -> io::Result<system::Owner> {
        let metadata = fs::metadata(&self.directory)?;
        Ok(system::Owner { user: metadata.uid(), group: metadata.gid() })
    }
}

/// Whether CouchDB can read this file and write its own changes into it.
fn usable(file: &Metadata, couchdb: system::Owner) -> bool {
    let rights = file.mode() & MODE;
    file.uid() == couchdb.user && rights & 0o600 == 0o600
        || file.gid() == couchdb.group && rights & 0o060 == 0o060
}

/// The last value in these files; files that the agent cannot or must not read are skipped.
fn last_value(paths: impl Iterator<Item = PathBuf>) -> Option<String> {
    paths.filter_map(|path| admin_value(&read::foreign(&path).ok()?).map(str::to_owned)).last()
}

fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    Some((key.trim(), value.trim()))
}

fn is_section(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

/// The value of `os_admin` in `[admins]`; the last one wins.
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

/// The value of `os_admin` in `[admins]` of an ini file's text. A key without a value is a deleted one.
pub fn os_admin_in(text: &str) -> Option<&str> {
    admin_value(text).filter(|value| !value.is_empty())
}

/// The text with a new first line for `os_admin` in `[admins]`; other lines for `os_admin` are removed.
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
#[path = "ini/tests.rs"]
mod tests;
