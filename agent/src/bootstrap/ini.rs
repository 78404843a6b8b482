//! The ini file that gives a CouchDB 3.x its first administrator: without one it does not start.
//!
//! Holds the hash, not the password, and is read at every start. CouchDB itself writes later changes of its
//! configuration into the last file of the chain, which is this one: other lines are kept, and the file is made usable
//! for the owner of the directory. What other ini files say of `os_admin` is read and never changed.

mod read;

use std::{
    ffi::OsStr,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use trove_couchdb_protocol::Secret;

use super::state::Ini;
use crate::{
    couch::{PasswordHash, Prf, ServerAdmin},
    system,
};

/// CouchDB reads the files of `local.d` in the order of their names, and the last one counts: packages leave a
/// `10-admins.ini` there.
const FILE_NAME: &str = "zz-trove-os-admin.ini";

/// Read before `local.d`, from beside it; without a file in `local.d` CouchDB writes its changes there.
const LOCAL_INI: &str = "local.ini";

/// CouchDB must be able to write it, by its account or by its group; nobody else needs to read it.
const MODE: u32 = 0o660;

const SECTION: &str = "[admins]";

/// Beside the agent's. A package brings one or two, and each that there is, is read.
const MOST_INI_FILES: usize = 1_000;
const TOO_MANY: &str = "it has more than 1000 ini files; find out who puts them there, and remove them";

/// The file in CouchDB's `local.d`.
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it and the other ini files say of `os_admin`, measured by the password of the credentials file.
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
            // CouchDB could not read it and would not start. It is written again.
            Some(_) if ours_fits && !is_couchdbs => Ini::Absent,
            Some(value) if fits(&value) => Ini::Installed,
            Some(_) if ours_fits => Ini::Overridden,
            Some(_) => Ini::Foreign,
        })
    }

    /// Gives `os_admin` this password at CouchDB's next start; other lines stay.
    ///
    /// The server's version is not known before it runs, and every version understands sha1. A few rounds are
    /// enough for a password of 256 random bits.
    pub fn install(&self, password: &Secret, iterations: u32) -> io::Result<()> {
        let before = self.read_ours()?.map(|(text, _)| text).unwrap_or_default();
        let hash = PasswordHash::with_fresh_salt(password, Prf::Sha1, iterations);
        let owner = self.owner()?;
        system::replace_as(&self.path, with_admin(&before, &hash.admin_value()).as_bytes(), MODE, owner)
    }

    /// Gives `os_admin` this password if the file gives it another one.
    pub fn follow(&self, password: &Secret, iterations: u32) -> io::Result<()> {
        match self.read_ours()?.as_ref().and_then(|(text, _)| admin_value(text)) {
            Some(value) if !PasswordHash::admin_value_fits(value, password) => {
                self.install(password, iterations)
            }
            _ => Ok(()),
        }
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

    /// The other ini files of the directory, in the order in which CouchDB reads them.
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

    /// The owner of the directory, who is CouchDB's account.
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

/// What the last of these files says; one that the agent may not or will not read says nothing.
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
        assert_eq!(ini.look(Some(&right)).unwrap(), Ini::Absent);
        ini.install(&right, 10).unwrap();
        assert_eq!(ini.look(Some(&right)).unwrap(), Ini::Installed);
        assert_eq!(ini.look(Some(&wrong)).unwrap(), Ini::Foreign);
        assert_eq!(ini.look(None).unwrap(), Ini::Foreign, "somebody's os_admin");
        ini.install(&wrong, 10).unwrap();
        assert_eq!(ini.look(Some(&wrong)).unwrap(), Ini::Installed);
        let text = fs::read_to_string(ini.path()).unwrap();
        assert!(!text.contains("wrong"), "the password itself is not in it");
        assert_eq!(text.matches("os_admin").count(), 1);
    }

    #[test]
    fn the_last_file_counts_and_ours_is_seldom_before_another() {
        let etc = tempfile::tempdir().unwrap();
        let directory = etc.path().join("local.d");
        fs::create_dir(&directory).unwrap();
        let ini = AdminIni::in_directory(&directory);
        let password = Secret::new("right");
        fs::write(etc.path().join("local.ini"), "[admins]\nos_admin = -hash\n").unwrap();
        assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Foreign, "CouchDB's own changes stand there");
        ini.install(&password, 10).unwrap();
        assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Installed);
        fs::write(directory.join("10-admins.ini"), "[admins]\nos_admin = -hash\n").unwrap();
        assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Installed);
        fs::write(directory.join("zzz.ini"), "[admins]\nos_admin = -hash\n").unwrap();
        assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Overridden);
    }

    #[test]
    fn a_file_that_couchdb_cannot_read_is_written_again() {
        if !rustix::process::geteuid().is_root() {
            return; // only root can give files away
        }
        let directory = tempfile::tempdir().unwrap();
        let couchdb = 12_345;
        std::os::unix::fs::chown(directory.path(), Some(couchdb), Some(couchdb)).unwrap();
        let ini = AdminIni::in_directory(directory.path());
        let password = Secret::new("right");
        ini.install(&password, 10).unwrap();
        assert_eq!(fs::metadata(ini.path()).unwrap().uid(), couchdb);
        std::os::unix::fs::chown(ini.path(), Some(0), Some(0)).unwrap();
        assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Absent);
        ini.install(&password, 10).unwrap();
        assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Installed);
    }

    /// Mutation: own-ini-through-a-link (docs/promises.md).
    #[test]
    fn a_link_in_its_place_has_nothing_copied() {
        let etc = tempfile::tempdir().unwrap();
        let directory = etc.path().join("local.d");
        fs::create_dir(&directory).unwrap();
        let secret = etc.path().join("guest_info.conf");
        let planted = "[admins]\nos_admin = -hash\ninstance_rpc_encr_key = hunter2\n";
        fs::write(&secret, planted).unwrap();
        let ini = AdminIni::in_directory(&directory);
        std::os::unix::fs::symlink(&secret, ini.path()).unwrap();
        let password = Secret::new("right");
        let (looked, installed, followed) =
            (ini.look(Some(&password)).map(|_| ()), ini.install(&password, 10), ini.follow(&password, 10));
        for refused in [looked, installed, followed] {
            let told = refused.unwrap_err().to_string();
            assert!(told.contains("symbolic link") && told.contains("remove it"), "{told}");
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "the link");
        assert_eq!(fs::read_to_string(&secret).unwrap(), planted, "what it leads to is as it was");
        fs::remove_file(ini.path()).unwrap();
        ini.install(&password, 10).unwrap();
        assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Installed);
        assert!(!fs::read_to_string(ini.path()).unwrap().contains("hunter2"));
    }

    /// The name that is replaced is a directory entry: nothing is written through it, whatever stands there by now.
    #[test]
    fn a_link_that_comes_between_reading_and_writing_is_replaced_itself() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = directory.path().join("elsewhere");
        fs::write(&elsewhere, "as it was").unwrap();
        let links: [fn(&PathBuf, &PathBuf) -> io::Result<()>; 2] =
            [|from, to| std::os::unix::fs::symlink(from, to), |from, to| fs::hard_link(from, to)];
        for link in links {
            let path = directory.path().join(FILE_NAME);
            link(&elsewhere, &path).unwrap();
            let we = fs::metadata(directory.path()).unwrap();
            system::replace_as(&path, b"new", MODE, system::Owner { user: we.uid(), group: we.gid() })
                .unwrap();
            assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "as it was");
            assert!(fs::symlink_metadata(&path).unwrap().is_file());
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_pipe_beside_it_says_nothing_and_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let ini = AdminIni::in_directory(directory.path());
        let pipe = directory.path().join("10-pipe.ini");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        std::os::unix::fs::symlink("/dev/zero", directory.path().join("20-zero.ini")).unwrap();
        let password = Secret::new("right");
        assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Absent);
        ini.install(&password, 10).unwrap();
        assert_eq!(ini.look(Some(&password)).unwrap(), Ini::Installed);
    }

    #[test]
    fn so_many_files_are_none_of_couchdbs() {
        let directory = tempfile::tempdir().unwrap();
        let ini = AdminIni::in_directory(directory.path());
        let put = |number: usize| fs::write(directory.path().join(format!("{number}.ini")), "").unwrap();
        (0..MOST_INI_FILES).for_each(put);
        fs::write(directory.path().join("README"), "").unwrap();
        assert_eq!(ini.look(None).unwrap(), Ini::Absent);
        put(MOST_INI_FILES);
        let told = ini.look(None).unwrap_err().to_string();
        assert!(told.contains("more than 1000 ini files"), "{told}");
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
