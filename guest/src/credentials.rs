//! The file that holds `os_admin`'s password, the only copy there is.
//!
//! `{"username": "os_admin", "password": "…"}`, mode 0600, replaced whole or not at all. The name
//! `~/.os_couchdb_admin_creds.json` is the one that the Trove specification implies. While the password is being changed
//! the file holds `next_password` too: whichever of the two the server knows, it is in the file.

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
    /// Group or others have some right on it.
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
    /// Whoever owns it may know the password, or put in another.
    #[error(
        "the credentials file {path} belongs to {owner}, and the agent runs as {agent}: the owner may know os_admin's \
         password or put in another. Find out how that came about, run `chown {uid} {path}`, and then \
         `trove-couchdb rotate-os-admin`"
    )]
    Foreign {
        /// The file.
        path: String,
        /// Whose it is.
        owner: String,
        /// Who the agent is.
        agent: String,
        /// The agent's number.
        uid: u32,
    },
    /// Whoever made the link may lead it elsewhere.
    #[error(
        "the credentials file {path} is reached through {link}, a symbolic link of {owner}, which the agent does not \
         follow: put the file itself there, or name its real place in couchdb.credentials_file"
    )]
    Link {
        /// The file.
        path: String,
        /// The link, which may be a directory above it.
        link: String,
        /// Whose it is.
        owner: String,
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

/// What the file holds.
#[derive(Debug, Deserialize)]
pub struct Content {
    username: String,
    /// As in [`Credentials`].
    pub password: Secret,
    /// As in [`Credentials`].
    #[serde(rename = "next_password")]
    pub next: Option<Secret>,
    /// Unix seconds; files of before there was rotation have none.
    since: Option<u64>,
}

/// Why a text is not what the file should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Not an object with two texts.
    NoCredentials,
    /// Those of another account than `os_admin`.
    AnotherAccount,
    /// Nobody logs in with an empty password.
    EmptyPassword,
}

impl Content {
    /// Reads it.
    ///
    /// # Errors
    /// Without anything of the text: serde's own message could quote the password.
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
    /// The one that the server takes, as far as is known.
    pub password: Secret,
    /// The one that it is to take, or takes already: a change is under way, or was when the agent died.
    pub next: Option<Secret>,
    /// When the password was made: by the file's own word, else by its time of modification.
    pub since: SystemTime,
}

/// Reads the file; `None` if there is none.
///
/// # Errors
/// [`CredentialsError::TooOpen`] for one that is not for its owner alone, [`CredentialsError::Foreign`] for one of another
/// owner than the agent, [`CredentialsError::Link`] for one that is elsewhere.
pub fn load(path: &Path) -> Result<Option<Credentials>, CredentialsError> {
    let shown = || path.display().to_string();
    let failed = |source| CredentialsError::Io { path: shown(), action: "read", source };
    let agent = geteuid().as_raw();
    if let Some((link, owner)) = links::on_the_way_to(path, agent) {
        let (link, owner) = (link.display().to_string(), system::account_of(owner));
        return Err(CredentialsError::Link { path: shown(), link, owner });
    }
    // What is opened is looked at, and not what the name stood for a moment before.
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
        // Closing it would not make the password secret again, and nobody would be told that it must be changed.
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
    /// A password of its own, as of now.
    pub fn generated() -> Self {
        Self { password: random_password(), next: None, since: SystemTime::now() }
    }

    /// The same, with another password to come.
    #[must_use]
    pub fn with_next(&self) -> Self {
        Self { next: Some(random_password()), ..self.clone() }
    }

    /// With the coming password in the place of the old one, if there is one to come.
    #[must_use]
    pub fn promoted(self) -> Self {
        match self.next {
            Some(next) => Self { password: next, next: None, since: SystemTime::now() },
            None => self,
        }
    }

    /// With the two in each other's place, as the server seems to take the coming one already.
    #[must_use]
    pub fn turned(self) -> Self {
        match self.next {
            Some(next) => Self { password: next, next: Some(self.password), since: SystemTime::now() },
            None => self,
        }
    }

    /// With only the old password.
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

/// Generates a password and writes the file; returns when the disk has it.
///
/// A file that came into being meanwhile stays, and its password is the one.
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

/// Replaces the file; returns when the disk has it.
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
