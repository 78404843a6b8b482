//! What bootstrap does next: a pure function from what is seen to one step.
//!
//! ```text
//!                          credentials file?
//!                 none |                    | valid
//!    +-----------------+                    |
//!    | a way to use it, and no os_admin     |
//!    | whose password it would replace?     |
//!    |   no: Blocked, or Misfit             |
//!    |  yes: WriteCredentials ------------->+
//!                                           v
//!   server down: InstallIni (if no ini file names os_admin), else AwaitServer
//!   admin party: EndParty -----------------------------------+
//!   closed, the file is new, and a bootstrap admin sees      |
//!     no os_admin: CreateOsAdmin ----------------------------+--> Login --> accepted: EnsureDatabases --> Done
//!   closed, otherwise: --------------------------------------+      |
//!                                                                   +--> refused: CreateOsAdmin, InstallIni,
//!                                                                        or a verdict for the operator
//! ```
//!
//! Nothing is remembered between steps but what the disk and the server hold. So a kill at any point costs
//! nothing: the next run sees where things stand and goes on from there. The password is written to the file
//! before any server learns of it, and never replaced by another one; nor is that of an `os_admin` who was there
//! before.

pub use trove_couchdb_guest::ini::Ini;

/// What the credentials file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// There is none.
    Missing,
    /// A name and a password, written in this life of the agent: the server has to learn it yet.
    New,
    /// A name and a password from before: most likely the server knows it.
    Kept,
}

/// What CouchDB looks like without credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// Nothing answers. A 3.x server without an administrator does not start at all.
    Down,
    /// Everybody is a server administrator.
    Party,
    /// There is an administrator.
    Closed,
}

/// What CouchDB said to the file's credentials in this life of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginTried {
    /// Not asked yet.
    No,
    /// `os_admin` is a server administrator with this password.
    Accepted,
    /// It is not. Asking again would count towards CouchDB's lockout.
    Refused,
}

/// What the account of the configured bootstrap administrator sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootstrapAdmin {
    /// None is configured.
    None,
    /// It has not been asked, or the server is down.
    Unasked,
    /// There is an `os_admin` among the administrators.
    SeesOsAdmin,
    /// There is none.
    SeesNoOsAdmin,
    /// CouchDB refuses it: an operator deleted it or changed its password since.
    Refused,
}

/// All that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
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

/// One step. Each is harmless when it was done before.
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
    /// Create `_users` and `_replicator`, and wait until `_users` is guarded by its design document.
    EnsureDatabases,
    /// The hash is installed; CouchDB will know it after a restart.
    AwaitRestart,
    /// No way to become an administrator.
    Blocked,
    /// The file's password, if there is a file, is not that of the `os_admin` whom somebody has seen.
    CredentialsMismatch,
    /// CouchDB refuses the file's password, and nobody can look whether it has an `os_admin` at all.
    Refused,
    /// The hash is installed, and something stronger says otherwise.
    Overridden,
}

/// The next step.
pub fn next(seen: Seen) -> BootstrapStep {
    match seen.file {
        File::Missing => before_credentials(seen),
        File::New | File::Kept => with_credentials(seen),
    }
}

/// A password is generated only if there is a way to bring it to the server: a file that fits nothing would
/// look like one that fitted once.
fn before_credentials(seen: Seen) -> BootstrapStep {
    match (seen.server, seen.bootstrap_admin, seen.ini) {
        // An os_admin whose password nobody here knows.
        (_, BootstrapAdmin::SeesOsAdmin, _) | (_, _, Ini::Foreign | Ini::Installed | Ini::Overridden) => {
            BootstrapStep::CredentialsMismatch
        }
        (Server::Party, ..)
        | (Server::Closed, BootstrapAdmin::SeesNoOsAdmin, _)
        | (Server::Down, _, Ini::Absent) => BootstrapStep::WriteCredentials,
        (Server::Down, _, Ini::NoDirectory) => BootstrapStep::AwaitServer,
        (Server::Closed, BootstrapAdmin::Unasked, _) => BootstrapStep::AskBootstrapAdmin,
        // A server that runs may have an os_admin of which its ini files say nothing.
        (Server::Closed, BootstrapAdmin::None | BootstrapAdmin::Refused, _) => BootstrapStep::Blocked,
    }
}

fn with_credentials(seen: Seen) -> BootstrapStep {
    match (seen.server, seen.login, seen.ini) {
        (Server::Down, _, Ini::Absent) => BootstrapStep::InstallIni,
        (Server::Down, ..) => BootstrapStep::AwaitServer,
        // CouchDB would write the new administrator over the one in the ini file.
        (Server::Party, _, Ini::Foreign) => BootstrapStep::CredentialsMismatch,
        (Server::Party, ..) => BootstrapStep::EndParty,
        (Server::Closed, LoginTried::Accepted, _) => BootstrapStep::EnsureDatabases,
        (Server::Closed, LoginTried::Refused, _) => after_refusal(seen),
        (Server::Closed, LoginTried::No, _) => before_login(seen),
    }
}

/// A wrong login counts towards CouchDB's lockout, so a new file's password is not tried before somebody could
/// have told it to the server. An old one's is: then the bootstrap administrator, who may be gone long since, is
/// not needed.
fn before_login(seen: Seen) -> BootstrapStep {
    match (seen.file, seen.bootstrap_admin) {
        (File::New, BootstrapAdmin::Unasked) => BootstrapStep::AskBootstrapAdmin,
        (File::New, BootstrapAdmin::SeesNoOsAdmin) if seen.ini != Ini::Foreign => {
            BootstrapStep::CreateOsAdmin
        }
        _ => BootstrapStep::Login,
    }
}

fn after_refusal(seen: Seen) -> BootstrapStep {
    match (seen.bootstrap_admin, seen.ini) {
        (BootstrapAdmin::Unasked, _) => BootstrapStep::AskBootstrapAdmin,
        // The other os_admin was made by somebody who is there, or will be there at the next start.
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
