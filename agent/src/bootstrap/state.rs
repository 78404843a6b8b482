//! What bootstrap does next: a pure function from what is seen to one step.
//!
//! ```text
//!                          credentials file?
//!                 none |                    | valid
//!    +-----------------+                    |
//!    | a way to use it?--no--> Blocked      |
//!    | yes: WriteCredentials -------------->+
//!                                           v
//!   server down: InstallIni (if there is a directory), else AwaitServer
//!   admin party: EndParty ---------------------------+
//!   closed, a bootstrap admin: CreateOsAdmin --------+--> Login --> accepted: EnsureDatabases --> Done
//!   closed, otherwise: ------------------------------+      |
//!                                                           +--> refused: InstallIni, or Misfit
//! ```
//!
//! Nothing is remembered between steps but what the disk and the server hold. So a kill at any point costs
//! nothing: the next run sees where things stand and goes on from there. The password is written to the file
//! before any server learns of it, and never replaced by another one.

/// What the credentials file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// There is none.
    Missing,
    /// A name and a password that the agent may use.
    Valid,
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
}

/// The ini file for a server that won't start without an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ini {
    /// No directory is configured.
    NoDirectory,
    /// The file is missing, or holds another password's hash.
    Wanting,
    /// It holds the hash of the file's password.
    Installed,
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
pub enum Step {
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
    /// The file's password is not the server's.
    Misfit,
}

/// The next step.
pub fn next(seen: Seen) -> Step {
    match seen.file {
        File::Missing => before_credentials(seen),
        File::Valid => with_credentials(seen),
    }
}

/// A password is generated only if there is a way to bring it to the server: a file that fits nothing would
/// look like one that fitted once.
fn before_credentials(seen: Seen) -> Step {
    if seen.ini != Ini::NoDirectory {
        return Step::WriteCredentials;
    }
    match (seen.server, seen.bootstrap_admin) {
        (Server::Down, _) => Step::AwaitServer,
        (Server::Closed, BootstrapAdmin::Unasked) => Step::AskBootstrapAdmin,
        (Server::Party, _) | (Server::Closed, BootstrapAdmin::SeesNoOsAdmin) => Step::WriteCredentials,
        // An os_admin whose password nobody here knows.
        (Server::Closed, BootstrapAdmin::SeesOsAdmin) => Step::Misfit,
        (Server::Closed, BootstrapAdmin::None) => Step::Blocked,
    }
}

fn with_credentials(seen: Seen) -> Step {
    match (seen.server, seen.login) {
        (Server::Down, _) if seen.ini == Ini::Wanting => Step::InstallIni,
        (Server::Down, _) => Step::AwaitServer,
        (Server::Party, _) => Step::EndParty,
        (Server::Closed, LoginTried::Accepted) => Step::EnsureDatabases,
        (Server::Closed, login) => without_login(seen, login),
    }
}

fn without_login(seen: Seen, login: LoginTried) -> Step {
    match seen.bootstrap_admin {
        BootstrapAdmin::Unasked => return Step::AskBootstrapAdmin,
        BootstrapAdmin::SeesNoOsAdmin => return Step::CreateOsAdmin,
        BootstrapAdmin::SeesOsAdmin | BootstrapAdmin::None => {}
    }
    match (login, seen.ini) {
        (LoginTried::No | LoginTried::Accepted, _) => Step::Login,
        // The other os_admin was made by somebody who is there, and the file can only be wrong.
        (LoginTried::Refused, _) if seen.bootstrap_admin == BootstrapAdmin::SeesOsAdmin => Step::Misfit,
        (LoginTried::Refused, Ini::Wanting) => Step::InstallIni,
        (LoginTried::Refused, Ini::Installed) => Step::AwaitRestart,
        (LoginTried::Refused, Ini::NoDirectory) => Step::Misfit,
    }
}

#[cfg(test)]
#[path = "state/tests.rs"]
mod tests;
