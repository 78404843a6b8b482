//! Decides the next step of bootstrap: a pure function from observations to one step.
//!
//! ```text
//!                          credentials file?
//!                 none |                    | valid
//!    +-----------------+                    |
//!    | can a password reach the server      |
//!    | without replacing an os_admin's?     |
//!    |   no: Blocked or CredentialsMismatch |
//!    |  yes: WriteCredentials ------------->+
//!                                           v
//!   server down: InstallIni (if no ini file names os_admin), else AwaitServer
//!   admin party: EndParty -----------------------------------+
//!   closed, the file is new, and a bootstrap admin sees      |
//!     no os_admin: CreateOsAdmin ----------------------------+--> Login -> accepted: EnsureDatabases -> Done
//!   closed, otherwise: --------------------------------------+      |
//!                                                                   +--> refused: CreateOsAdmin, InstallIni,
//!                                                                        or a verdict for the operator
//! ```
//!
//! All lasting state is on the disk and in the server, so the agent may be killed at any point: the next run
//! continues from there. The password is written to the file before it is sent to any server, and bootstrap
//! never replaces it. Nor does bootstrap replace the password of an existing `os_admin`.

pub use trove_couchdb_guest::ini::Ini;

/// The state of the credentials file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// It does not exist.
    Missing,
    /// The agent wrote it since it started, and the server does not know the password yet.
    New,
    /// It existed before the agent started, so the server most likely knows the password.
    Existing,
}

/// What CouchDB looks like without credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// CouchDB does not answer. CouchDB 3.x does not start without an administrator.
    Down,
    /// Every client is a server administrator.
    Party,
    /// CouchDB has an administrator.
    Closed,
}

/// CouchDB's verdict on the file's credentials since the agent started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginTried {
    /// Not tried yet.
    No,
    /// `os_admin` is a server administrator with this password.
    Accepted,
    /// CouchDB refused it. Another try would count towards CouchDB's lockout.
    Refused,
}

/// What the configured bootstrap administrator sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootstrapAdmin {
    /// None is configured.
    None,
    /// The agent has not asked, or the server is down.
    Unasked,
    /// CouchDB has an `os_admin`.
    SeesOsAdmin,
    /// CouchDB has no `os_admin`.
    SeesNoOsAdmin,
    /// CouchDB refuses the account: an operator deleted it or changed its password.
    Refused,
}

/// Everything that decides the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The credentials file.
    pub file: File,
    /// The server.
    pub server: Server,
    /// The login.
    pub login: LoginTried,
    /// The bootstrap administrator.
    pub bootstrap_admin: BootstrapAdmin,
    /// The ini file.
    pub ini: Ini,
}

/// One step. Each step may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BootstrapStep {
    /// Generate a password and write the credentials file.
    WriteCredentials,
    /// Write the hash of the file's password where CouchDB reads it at its next start.
    InstallIni,
    /// Wait until CouchDB answers.
    AwaitServer,
    /// Make `os_admin` the first administrator, which ends the admin party.
    EndParty,
    /// Ask the bootstrap administrator whether there is an `os_admin`.
    AskBootstrapAdmin,
    /// Make `os_admin` an administrator, as the bootstrap administrator.
    CreateOsAdmin,
    /// Log in as `os_admin`, once.
    Login,
    /// Create `_users` and `_replicator`, and wait for the design document of `_users`.
    EnsureDatabases,
    /// The hash is installed, and CouchDB needs a restart to read it.
    AwaitRestart,
    /// The agent has no way to become an administrator.
    Blocked,
    /// CouchDB has an `os_admin`, and the credentials file is missing or holds a different password.
    CredentialsMismatch,
    /// CouchDB refuses the file's password, and the agent cannot check whether CouchDB has an `os_admin`.
    Refused,
    /// The hash is installed, but another ini file overrides it.
    Overridden,
}

/// The next step.
pub fn next(snapshot: Snapshot) -> BootstrapStep {
    match snapshot.file {
        File::Missing => before_credentials(snapshot),
        File::New | File::Existing => with_credentials(snapshot),
    }
}

/// Generates a password only if it can reach the server: a useless file would look like one that was once
/// valid.
fn before_credentials(snapshot: Snapshot) -> BootstrapStep {
    match (snapshot.server, snapshot.bootstrap_admin, snapshot.ini) {
        // The agent does not know the password of this os_admin.
        (_, BootstrapAdmin::SeesOsAdmin, _) | (_, _, Ini::Foreign | Ini::Installed | Ini::Overridden) => {
            BootstrapStep::CredentialsMismatch
        }
        (Server::Party, ..)
        | (Server::Closed, BootstrapAdmin::SeesNoOsAdmin, _)
        | (Server::Down, _, Ini::Absent) => BootstrapStep::WriteCredentials,
        (Server::Down, _, Ini::NoDirectory) => BootstrapStep::AwaitServer,
        (Server::Closed, BootstrapAdmin::Unasked, _) => BootstrapStep::AskBootstrapAdmin,
        // A running server may have an os_admin that its ini files do not mention.
        (Server::Closed, BootstrapAdmin::None | BootstrapAdmin::Refused, _) => BootstrapStep::Blocked,
    }
}

fn with_credentials(snapshot: Snapshot) -> BootstrapStep {
    match (snapshot.server, snapshot.login, snapshot.ini) {
        (Server::Down, _, Ini::Absent) => BootstrapStep::InstallIni,
        (Server::Down, ..) => BootstrapStep::AwaitServer,
        // CouchDB would overwrite the administrator in the ini file.
        (Server::Party, _, Ini::Foreign) => BootstrapStep::CredentialsMismatch,
        (Server::Party, ..) => BootstrapStep::EndParty,
        (Server::Closed, LoginTried::Accepted, _) => BootstrapStep::EnsureDatabases,
        (Server::Closed, LoginTried::Refused, _) => after_refusal(snapshot),
        (Server::Closed, LoginTried::No, _) => before_login(snapshot),
    }
}

/// A wrong login counts towards CouchDB's lockout, so a new password is not tried before the server can know
/// it. An older file's password is tried first, because then the bootstrap administrator, who may have been
/// deleted, is not needed.
fn before_login(snapshot: Snapshot) -> BootstrapStep {
    match (snapshot.file, snapshot.bootstrap_admin) {
        (File::New, BootstrapAdmin::Unasked) => BootstrapStep::AskBootstrapAdmin,
        (File::New, BootstrapAdmin::SeesNoOsAdmin) if snapshot.ini != Ini::Foreign => {
            BootstrapStep::CreateOsAdmin
        }
        _ => BootstrapStep::Login,
    }
}

fn after_refusal(snapshot: Snapshot) -> BootstrapStep {
    match (snapshot.bootstrap_admin, snapshot.ini) {
        (BootstrapAdmin::Unasked, _) => BootstrapStep::AskBootstrapAdmin,
        // Another party created that os_admin, or an ini file adds it at the next start.
        (BootstrapAdmin::SeesOsAdmin, _) | (_, Ini::Foreign) => BootstrapStep::CredentialsMismatch,
        (BootstrapAdmin::SeesNoOsAdmin, _) => BootstrapStep::CreateOsAdmin,
        (BootstrapAdmin::None | BootstrapAdmin::Refused, ini) => match ini {
            Ini::Absent => BootstrapStep::InstallIni,
            Ini::Installed => BootstrapStep::AwaitRestart,
            Ini::Overridden => BootstrapStep::Overridden,
            Ini::Foreign => BootstrapStep::CredentialsMismatch,
            Ini::NoDirectory => BootstrapStep::Refused,
        },
    }
}

#[cfg(test)]
#[path = "state/tests.rs"]
mod tests;
