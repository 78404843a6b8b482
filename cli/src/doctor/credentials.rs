//! The file with the only copy of `os_admin`'s password: whether it exists, is
//! readable only by its owner, and is complete.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use serde_json::Value;
use trove_couchdb_config::Settings;
use zeroize::Zeroizing;

use super::{Check, Finding};
use crate::couch::{self, Credentials};

static FILE: Check = Check::new("credentials.file", "The credentials file of os_admin is there and complete");
static MODE: Check = Check::new("credentials.mode", "Only its owner can read it");
static OWNER: Check = Check::new("credentials.owner", "It belongs to the agent's user");

pub(super) const CHECKS: &[&Check] = &[&FILE, &MODE, &OWNER];

/// The file, as far as the doctor can use it.
pub(super) enum CredentialsFile {
    /// It does not exist.
    Absent,
    /// It can't be read, or is invalid.
    Unusable,
    Known(Credentials),
}

pub(super) fn look(
    settings: &Settings,
    status: Option<&Value>,
    findings: &mut Vec<Finding>,
) -> CredentialsFile {
    let path = &settings.couchdb.credentials_file;
    let shown = path.display();
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            findings.push(absent(path, &error, status));
            findings.extend([&MODE, &OWNER].map(|check| check.skipped("there is no file to look at")));
            let is_absent = error.kind() == io::ErrorKind::NotFound;
            return if is_absent { CredentialsFile::Absent } else { CredentialsFile::Unusable };
        }
    };
    if metadata.is_symlink() {
        findings.push(FILE.failed(
            format!("{shown} is a symbolic link, which the agent does not follow"),
            "put the file itself there, or name its real place in couchdb.credentials_file",
        ));
        findings.extend([&MODE, &OWNER].map(|check| check.skipped("the file is elsewhere")));
        return CredentialsFile::Unusable;
    }
    let (credentials, finding) = content(path, status.is_some());
    findings.push(finding);
    let mode = metadata.permissions().mode() & 0o7777;
    let others_may = mode & 0o077;
    findings.push(if others_may == 0 {
        MODE.ok(format!("{mode:04o}"))
    } else {
        let advice = format!(
            "`chmod 600 {shown}`, then `trove-couchdb rotate-os-admin`; the agent does not use it before"
        );
        MODE.failed(
            format!("{shown} has mode {mode:04o}: other accounts may know os_admin's password"),
            advice,
        )
    });
    findings.push(owner(path, metadata.uid(), agents_uid(settings, status)));
    credentials.map_or(CredentialsFile::Unusable, CredentialsFile::Known)
}

fn absent(path: &Path, error: &io::Error, status: Option<&Value>) -> Finding {
    let shown = path.display();
    // Without a login the agent cannot change the password.
    let has_login = status.is_some_and(|status| status["couchdb"]["state"] == "healthy");
    match error.kind() {
        io::ErrorKind::NotFound if status.is_some() && !has_login => FILE.failed(
            format!("{shown} is not there, and the agent has no login on CouchDB"),
            "couchdb.os_admin below says which page describes what to do",
        ),
        io::ErrorKind::NotFound if has_login => FILE.failed(
            format!("{shown} is missing, so only the running agent may know os_admin's password"),
            "restart neither the agent nor CouchDB: `trove-couchdb rotate-os-admin` writes a new file, with a new \
             password",
        ),
        io::ErrorKind::NotFound => FILE.failed(
            format!("{shown} is not there"),
            "start the agent: if CouchDB has no administrator, it creates os_admin and this file. Otherwise \
             couchdb.os_admin below says which page describes what to do",
        ),
        io::ErrorKind::PermissionDenied => {
            FILE.not_run(format!("{shown} can't be looked at: {error}"))
        }
        _ => FILE.failed(format!("{shown} can't be looked at: {error}"), "repair the file system, or the path"),
    }
}

fn content(path: &Path, agent_runs: bool) -> (Option<Credentials>, Finding) {
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return (None, FILE.not_run(format!("{shown} can't be read: {error}")));
        }
        Err(error) => {
            return (
                None,
                FILE.failed(format!("{shown} can't be read: {error}"), "restore it from a backup"),
            );
        }
    };
    match couch::parse_credentials(&text) {
        Ok(credentials) if credentials.next.is_some() && !agent_runs => {
            let detail = format!("{shown}: a change of the password was cut short");
            (
                Some(credentials),
                FILE.warning(detail, "start the agent, which finds out which of the two holds"),
            )
        }
        Ok(credentials) => (Some(credentials), FILE.ok(shown.to_string())),
        Err(problem) => {
            let advice = "restore it from a backup, or move it away and remove os_admin from CouchDB's [admins] to \
                          start from scratch";
            (None, FILE.failed(format!("{shown}: {problem}"), advice))
        }
    }
}

/// The agent's account; while the agent is down, the owner of its state directory.
fn agents_uid(settings: &Settings, status: Option<&Value>) -> Option<u32> {
    let pid = status.and_then(|status| status["pid"].as_u64());
    let process = pid.and_then(|pid| fs::metadata(format!("/proc/{pid}")).ok());
    let directory = || fs::metadata(&settings.guest.state_dir).ok();
    process.or_else(directory).map(|metadata| metadata.uid())
}

fn owner(path: &Path, owner: u32, agent: Option<u32>) -> Finding {
    match agent {
        None => OWNER.skipped("the agent does not run and has no state directory yet"),
        Some(agent) if agent == owner => OWNER.ok(format!("uid {owner}")),
        Some(agent) => OWNER.failed(
            format!("{} belongs to uid {owner}, and the agent is uid {agent}", path.display()),
            format!("`chown {agent} {}`", path.display()),
        ),
    }
}
