//! CouchDB's `local.d`, into which the agent writes the hash of `os_admin`'s password
//! at its first start and at each change.
//!
//! Checks the agent's view of the directory, because its unit may make the
//! directory read-only for the agent alone.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};
use serde_json::Value;
use trove_couchdb_config::Settings;

use super::{Check, Finding};

static WRITABLE: Check = Check::new("couchdb.local_ini_dir", "The agent can write into CouchDB's local.d");

pub(super) const CHECKS: &[&Check] = &[&WRITABLE];

/// Root may write anywhere.
const ROOT: u32 = 0;

/// The agent's account.
struct Account {
    user: u32,
    groups: Vec<u32>,
}

pub(super) fn look(settings: &Settings, status: Option<&Value>) -> Finding {
    let Some(directory) = &settings.couchdb.local_ini_dir else {
        return WRITABLE.ok("couchdb.local_ini_dir is not set: the agent writes nothing there");
    };
    let process =
        status.and_then(|status| status["pid"].as_u64()).map(|pid| PathBuf::from(format!("/proc/{pid}")));
    judged(directory, process.as_deref())
}

fn judged(directory: &Path, process: Option<&Path>) -> Finding {
    let shown = directory.display();
    let seen_by_agent =
        process.map(|process| process.join("root").join(directory.strip_prefix("/").unwrap_or(directory)));
    let place = seen_by_agent.filter(|place| place.exists()).unwrap_or_else(|| directory.to_owned());
    let found = match fs::metadata(&place) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return WRITABLE.failed(
                format!("{shown} is not there"),
                "correct couchdb.local_ini_dir; CouchDB's packages have /opt/couchdb/etc/local.d",
            );
        }
        Err(error) => {
            return WRITABLE.skipped(format!("{shown} can't be looked at: {error}; run the doctor as root"));
        }
    };
    let denied = |why: String| {
        WRITABLE.failed(
            format!("the agent can't write into {shown} ({why}): os_admin's hash can't be brought to CouchDB's next start"),
            format!(
                "make the directory writable for the agent's account or group (`chgrp couchdb {shown}; chmod g+w {shown}`), and \
                 if it is on a read-only file system, or not in ReadWritePaths= of the agent's unit, correct that"
            ),
        )
    };
    match access(&place, Access::WRITE_OK | Access::EXEC_OK) {
        Err(rustix::io::Errno::ROFS) => return denied("read-only file system".to_owned()),
        Err(rustix::io::Errno::ACCESS) if !rustix::process::geteuid().is_root() => {
            return WRITABLE.skipped(format!("whether the agent can write into {shown} only root can see"));
        }
        Err(error) => return denied(error.to_string()),
        Ok(()) => {}
    }
    match process.and_then(|process| account(&process.join("status"))) {
        Some(account) if !may_write(&found, &account) => denied(format!(
            "it has mode {:04o} and belongs to uid {} and gid {}; the agent is uid {}",
            found.mode() & 0o7777,
            found.uid(),
            found.gid(),
            account.user
        )),
        _ => WRITABLE.ok(shown.to_string()),
    }
}

/// Checks the directory's owner, group and mode, but not ACLs.
fn may_write(directory: &Metadata, account: &Account) -> bool {
    let mode = directory.mode();
    account.user == ROOT
        || if directory.uid() == account.user {
            mode & 0o300 == 0o300
        } else if account.groups.contains(&directory.gid()) {
            mode & 0o030 == 0o030
        } else {
            mode & 0o003 == 0o003
        }
}

/// The effective user and all groups of a process, from its `status` in `/proc`.
fn account(status: &Path) -> Option<Account> {
    let text = fs::read_to_string(status).ok()?;
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().map(|number| number.parse().ok()).collect()
    };
    let mut groups = numbers("Groups:")?;
    groups.extend(numbers("Gid:")?.get(1));
    Some(Account { user: *numbers("Uid:")?.get(1)?, groups })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_directory_that_is_missing_or_read_only_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("local.d");
        let finding = judged(&missing, None);
        assert_eq!(finding.verdict, Verdict::Failed);
        assert!(finding.detail.contains(missing.to_str().unwrap()));
        assert_eq!(judged(directory.path(), None).verdict, Verdict::Ok);
        assert_eq!(judged(directory.path(), Some(Path::new("/proc/self"))).verdict, Verdict::Ok);
        // Not writable for any account, not even root.
        let finding = judged(Path::new("/proc/self"), None);
        assert_ne!(finding.verdict, Verdict::Ok, "{finding:?}");
    }

    #[test]
    fn rights_are_those_of_the_agents_account() {
        let directory = tempfile::tempdir().unwrap();
        let found = |mode| {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
            fs::metadata(directory.path()).unwrap()
        };
        let (owner, group) = (found(0o700).uid(), found(0o700).gid());
        let member = Account { user: 4_321, groups: vec![group] };
        let other = Account { user: 4_321, groups: vec![] };
        assert!(!may_write(&found(0o750), &member) && may_write(&found(0o770), &member));
        assert!(!may_write(&found(0o770), &other) && may_write(&found(0o777), &other));
        assert!(may_write(&found(0o700), &Account { user: owner, groups: vec![] }));
        assert!(may_write(&found(0o700), &Account { user: ROOT, groups: vec![] }));
    }

    #[test]
    fn a_process_tells_its_account() {
        let own = account(Path::new("/proc/self/status")).unwrap();
        assert_eq!(own.user, rustix::process::geteuid().as_raw());
        assert!(own.groups.contains(&rustix::process::getegid().as_raw()));
    }
}
