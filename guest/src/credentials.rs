//! The file with the only copy of `os_admin`'s password.
//!
//! `{"username": "os_admin", "password": "…"}`, mode 0600, replaced atomically. The Trove specification
//! implies the name `~/.os_couchdb_admin_creds.json`. While the password is being changed the file also
//! contains `next_password`, so the server's password is always in the file.

mod links;

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::{Duration, SystemTime},
};

use rand::RngExt;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::geteuid,
};
use serde::Deserialize;
use serde_json::json;
use trove_couchdb_protocol::Secret;
use zeroize::Zeroizing;

use trove_couchdb_client::ServerAdmin;
use trove_couchdb_system as system;

/// Letters and digits, so that the password can be typed and pasted anywhere.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// 43 characters out of 62 are 256 bits.
const PASSWORD_LENGTH: usize = 43;

/// Only the owner may read or write the file.
const MODE: u32 = 0o600;

/// Why the file cannot be used. The agent never generates a new password in these cases.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read or written.
    #[error("the credentials file {path} can't be {action}: {source}")]
    Io {
        /// The file.
        path: String,
        /// `read` or `written`.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The group or other accounts have access to the file.
    #[error(
        "the credentials file {path} has mode {mode:04o}, so that other accounts may know os_admin's password or put in \
         another: run `chmod 600 {path}`, and then `trove-couchdb rotate-os-admin`"
    )]
    TooOpen {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The file belongs to a different account, which may know or replace the password.
    #[error(
        "the credentials file {path} belongs to {owner}, and the agent runs as {agent}: the owner may know os_admin's \
         password or put in another. Find out how that came about, run `chown {uid} {path}`, and then \
         `trove-couchdb rotate-os-admin`"
    )]
    Foreign {
        /// The file.
        path: String,
        /// The file's owner.
        owner: String,
        /// The agent's account.
        agent: String,
        /// The agent's user id.
        uid: u32,
    },
    /// The path contains a symbolic link whose owner can redirect it.
    #[error(
        "the credentials file {path} is reached through {link}, a symbolic link of {owner}, which the agent does not \
         follow: put the file itself there, or name its real place in couchdb.credentials_file"
    )]
    Link {
        /// The file.
        path: String,
        /// The link; it may be a parent directory.
        link: String,
        /// The link's owner.
        owner: String,
    },
    /// The file does not contain the expected JSON.
    #[error(
        "the credentials file {path} is not {{\"username\": \"os_admin\", \"password\": \"…\"}} ({problem}): \
         restore it from a backup, or move it away and remove os_admin from CouchDB's [admins] to start from scratch"
    )]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong, without the content.
        problem: &'static str,
    },
}

/// The content of the file.
#[derive(Debug, Deserialize)]
pub struct Content {
    username: String,
    /// As in [`Credentials`].
    pub password: Secret,
    /// As in [`Credentials`].
    #[serde(rename = "next_password")]
    pub next: Option<Secret>,
    /// Unix seconds; files from before rotation was supported have none.
    since: Option<u64>,
}

/// Why a text is not valid content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Not an object with two strings.
    NoCredentials,
    /// The username is not `os_admin`.
    AnotherAccount,
    /// A password is empty; no account can log in with it.
    EmptyPassword,
}

impl Content {
    /// Parses the content of the file.
    ///
    /// # Errors
    /// The error contains nothing of the text; serde's own message could quote the password.
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        let content: Self = serde_json::from_str(text).map_err(|_| Flaw::NoCredentials)?;
        if content.username != ServerAdmin::OsAdmin.as_str() {
            return Err(Flaw::AnotherAccount);
        }
        let mut passwords = std::iter::once(&content.password).chain(&content.next);
        if passwords.any(|password| password.expose().is_empty()) {
            Err(Flaw::EmptyPassword)
        } else {
            Ok(content)
        }
    }
}

/// The passwords of `os_admin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The password that CouchDB accepts, as far as known.
    pub password: Secret,
    /// The new password during a change; CouchDB may already accept it. Also
    /// set if the agent died during a change.
    pub next: Option<Secret>,
    /// When the password was created: as recorded in the file, otherwise the file's modification time.
    pub since: SystemTime,
}

/// Reads the file; `None` if it does not exist.
///
/// # Errors
/// [`CredentialsError::TooOpen`] if other accounts have access, [`CredentialsError::Foreign`] if the file
/// does not belong to the agent, [`CredentialsError::Link`] if the path contains an untrusted link.
pub fn load(path: &Path) -> Result<Option<Credentials>, CredentialsError> {
    let shown = || path.display().to_string();
    let failed = |source| CredentialsError::Io { path: shown(), action: "read", source };
    let agent = geteuid().as_raw();
    if let Some((link, owner)) = links::on_the_way_to(path, agent) {
        let (link, owner) = (link.display().to_string(), system::account_of(owner));
        return Err(CredentialsError::Link { path: shown(), link, owner });
    }
    // Check the opened file, because the path may change after a check.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => fs::File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    };
    let metadata = file.metadata().map_err(failed)?;
    if metadata.uid() != agent {
        let (owner, agent_is) = (system::account_of(metadata.uid()), system::account_of(agent));
        return Err(CredentialsError::Foreign { path: shown(), owner, agent: agent_is, uid: agent });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        // Fixing the mode would hide that the password may be known and must be changed.
        return Err(CredentialsError::TooOpen { path: shown(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    io::Read::read_to_string(&mut file, &mut text).map_err(failed)?;
    let content = Content::parse(&text).map_err(|flaw| {
        let problem = match flaw {
            Flaw::NoCredentials => "not an object with two texts",
            Flaw::AnotherAccount => "another username",
            Flaw::EmptyPassword => "an empty password",
        };
        CredentialsError::Malformed { path: shown(), problem }
    })?;
    let since = content.since.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let since = since.or_else(|| metadata.modified().ok()).unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(Some(Credentials { password: content.password, next: content.next, since }))
}

impl Credentials {
    /// A new random password, created now.
    pub fn generated() -> Self {
        Self { password: random_password(), next: None, since: SystemTime::now() }
    }

    /// The same password with a new random `next`.
    #[must_use]
    pub fn with_next(&self) -> Self {
        Self { next: Some(random_password()), ..self.clone() }
    }

    /// Replaces the password with `next`, if set.
    #[must_use]
    pub fn promoted(self) -> Self {
        match self.next {
            Some(next) => Self { password: next, next: None, since: SystemTime::now() },
            None => self,
        }
    }

    /// Swaps the password and `next`, because CouchDB seems to accept `next` already.
    #[must_use]
    pub fn turned(self) -> Self {
        match self.next {
            Some(next) => Self { password: next, next: Some(self.password), since: SystemTime::now() },
            None => self,
        }
    }

    /// Drops `next`.
    #[must_use]
    pub fn settled(self) -> Self {
        Self { next: None, ..self }
    }

    fn to_text(&self) -> Zeroizing<String> {
        let since = self.since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut content = json!({
            "username": ServerAdmin::OsAdmin.as_str(), "password": self.password.expose(), "since": since,
        });
        if let Some(next) = &self.next {
            content["next_password"] = next.expose().into();
        }
        Zeroizing::new(format!("{content}\n"))
    }
}

/// Generates a password and writes the file; returns when it is synced to disk.
///
/// If the file was created in the meantime, it is kept and its password is returned.
pub fn generate(path: &Path) -> Result<Credentials, CredentialsError> {
    let credentials = Credentials::generated();
    match system::create(path, credentials.to_text().as_bytes(), MODE) {
        Ok(()) => Ok(credentials),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            load(path)?.ok_or_else(|| not_written(path, io::ErrorKind::NotFound.into()))
        }
        Err(error) => Err(not_written(path, error)),
    }
}

/// Replaces the file; returns when it is synced to disk.
pub fn store(path: &Path, credentials: &Credentials) -> Result<(), CredentialsError> {
    system::replace(path, credentials.to_text().as_bytes(), MODE).map_err(|error| not_written(path, error))
}

fn not_written(path: &Path, source: io::Error) -> CredentialsError {
    CredentialsError::Io { path: path.display().to_string(), action: "written", source }
}

fn random_password() -> Secret {
    let mut rng = rand::rng();
    let password: Zeroizing<String> = Zeroizing::new(
        (0..PASSWORD_LENGTH).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect(),
    );
    Secret::new(password.as_str())
}

#[cfg(test)]
#[path = "credentials/tests.rs"]
mod tests;
