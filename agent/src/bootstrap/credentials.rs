//! The file that holds `os_admin`'s password, the only copy there is.
//!
//! `{"username": "os_admin", "password": "…"}`, mode 0600, replaced whole or not at all. The name
//! `~/.os_couchdb_admin_creds.json` is the one that the Trove specification implies.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rand::RngExt;
use serde::Deserialize;
use serde_json::json;
use tracing::warn;
use trove_couchdb_protocol::Secret;
use zeroize::Zeroizing;

use crate::{couch::ServerAdmin, system};

/// Letters and digits, so that the password can be typed and pasted anywhere.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// 43 of 62 characters are 256 bits.
const PASSWORD_LENGTH: usize = 43;

/// Only the owner may read or write the file.
const MODE: u32 = 0o600;

/// Why the file can't be used. None of these makes the agent invent another password.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The disk.
    #[error("the credentials file {path} can't be {action}: {source}")]
    Io {
        /// The file.
        path: String,
        /// `read` or `written`.
        action: &'static str,
        /// The system's own words.
        source: io::Error,
    },
    /// Group or others have some right on it, and the agent can't take it away.
    #[error(
        "the credentials file {path} has mode {mode:04o}, so that other accounts can read os_admin's password, \
         and belongs to another account: run `chmod 600 {path}`, and change the password if they may have read it"
    )]
    TooOpen {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// Not the JSON that it should be.
    #[error(
        "the credentials file {path} is not {{\"username\": \"os_admin\", \"password\": \"…\"}} ({problem}): \
         restore it from a backup, or move it away and remove os_admin from CouchDB's [admins] to begin anew"
    )]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong, without the content.
        problem: &'static str,
    },
}

#[derive(Deserialize)]
struct Content {
    username: String,
    password: Secret,
}

/// Reads the password; `None` if there is no file.
pub fn load(path: &Path) -> Result<Option<Secret>, CredentialsError> {
    let shown = || path.display().to_string();
    let failed = |source| CredentialsError::Io { path: shown(), action: "read", source };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        // Our own file, copied or restored carelessly. Of a foreign one, even root can't tell who relies on it.
        let ours = metadata.uid() == rustix::process::geteuid().as_raw();
        if !ours || fs::set_permissions(path, fs::Permissions::from_mode(MODE)).is_err() {
            return Err(CredentialsError::TooOpen { path: shown(), mode });
        }
        let (path, mode) = (shown(), format!("{mode:04o}"));
        warn!(
            path,
            mode, "Other accounts could read os_admin's password; the file is now for its owner only."
        );
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
    let malformed = |problem| CredentialsError::Malformed { path: shown(), problem };
    // serde's own message could quote the password.
    let content: Content =
        serde_json::from_str(&text).map_err(|_| malformed("not an object with two texts"))?;
    if content.username != ServerAdmin::OsAdmin.as_str() {
        return Err(malformed("another username"));
    }
    if content.password.expose().is_empty() {
        return Err(malformed("an empty password"));
    }
    Ok(Some(content.password))
}

/// Generates a password and writes the file; returns when the disk has it.
///
/// A file that came into being meanwhile stays, and its password is the one.
pub fn generate(path: &Path) -> Result<Secret, CredentialsError> {
    let mut rng = rand::rng();
    let password: Zeroizing<String> = Zeroizing::new(
        (0..PASSWORD_LENGTH).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect(),
    );
    let content = json!({ "username": ServerAdmin::OsAdmin.as_str(), "password": *password });
    let text = Zeroizing::new(format!("{content}\n"));
    let failed =
        |source| CredentialsError::Io { path: path.display().to_string(), action: "written", source };
    match system::create(path, text.as_bytes(), MODE) {
        Ok(()) => Ok(Secret::new(password.as_str())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            load(path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_generated_password_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("creds.json");
        assert!(load(&path).unwrap().is_none());
        let password = generate(&path).unwrap();
        assert_eq!(load(&path).unwrap(), Some(password.clone()));
        assert_eq!(password.expose().len(), PASSWORD_LENGTH);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(generate(&path).unwrap(), password, "a file that is there is never replaced");
        fs::remove_file(&path).unwrap();
        assert_ne!(generate(&path).unwrap(), password);
    }

    #[test]
    fn a_bad_file_is_named_and_never_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("creds.json");
        for content in [
            r#"{"username": "os_admin", "password": 90210}"#,
            r#"{"username": "hunter2", "password": "hunter2"}"#,
            r#"{"username": "os_admin", "password": ""}"#,
            r#"{"username": "os_admin", "password": "hunter2""#,
            "hunter2",
            "",
        ] {
            system::replace(&path, content.as_bytes(), MODE).unwrap();
            let error = load(&path).unwrap_err();
            assert!(matches!(error, CredentialsError::Malformed { .. }), "{content}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2") && !shown.contains("90210"), "{shown}");
        }
    }

    #[test]
    fn a_file_of_ours_that_others_can_read_is_closed_and_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("creds.json");
        let content = r#"{"username": "os_admin", "password": "x"}"#;
        for mode in [0o644, 0o640, 0o620, 0o604] {
            system::replace(&path, content.as_bytes(), mode).unwrap();
            assert!(load(&path).unwrap().is_some(), "{mode:o}");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        }
        system::replace(&path, content.as_bytes(), 0o400).unwrap();
        assert!(load(&path).unwrap().is_some());
    }

    #[test]
    fn a_file_of_somebody_else_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("creds.json");
        let content = r#"{"username": "os_admin", "password": "x"}"#;
        let foreign = system::Owner { user: 12_345, group: 12_345 };
        system::replace_as(&path, content.as_bytes(), 0o644, foreign).unwrap();
        // Only root can give a file away.
        if rustix::process::geteuid().is_root() {
            assert!(matches!(load(&path), Err(CredentialsError::TooOpen { .. })));
        }
    }
}
