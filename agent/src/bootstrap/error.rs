//! Why a step of bootstrap did not succeed, and when to look again.

use std::time::Duration;

use trove_couchdb_guest::credentials::CredentialsError;

use crate::{couch::CouchError, system};

/// How often an absent server is looked for.
pub(super) const SERVER_WAIT: Duration = Duration::from_millis(500);

/// How often a standing verdict is checked for a change on the disk or in the server's answers.
pub(super) const WATCH: Duration = Duration::from_secs(2);

/// How often a locked account is asked about. CouchDB does not look at the password meanwhile, nor does it count the
/// request (`couch_auth_lockout.erl`).
const LOCKED_WAIT: Duration = Duration::from_secs(10);

/// The longest pause that a server may ask for with `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The credentials file.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The ini file.
    #[error("the ini file {path} can't be read or written: {source}")]
    Ini {
        /// The file.
        path: String,
        /// The system's own words.
        source: std::io::Error,
    },
    /// CouchDB.
    #[error(transparent)]
    Couch(#[from] CouchError),
    /// CouchDB refused the configured bootstrap administrator.
    #[error("CouchDB refuses the configured bootstrap_admin {0:?}; correct its name or password")]
    BootstrapAdminRefused(String),
    /// `_users` stays unguarded.
    #[error(
        "CouchDB made no _design/_auth in _users; until it does, anybody could store what they like there"
    )]
    NoAuthDesign,
    /// The runtime is shutting down.
    #[error("the agent is stopping")]
    Stopping,
    /// A state that only the operator can leave.
    #[error("{0}")]
    Stuck(&'static str),
}

impl BootstrapError {
    /// How long to wait, or `None` to wait for a change: every further try of a refused password counts towards
    /// CouchDB's lockout.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Couch(CouchError::LoginRefused) | Self::BootstrapAdminRefused(_) | Self::Stuck(_) => None,
            Self::Couch(error) if error.is_outage() => Some(SERVER_WAIT),
            Self::Couch(CouchError::LockedOut) => Some(LOCKED_WAIT),
            Self::Couch(CouchError::TooManyRequests { retry_after, .. }) => {
                Some(retry_after.unwrap_or(WATCH).clamp(WATCH, LONGEST_RETRY_AFTER))
            }
            Self::Couch(_) | Self::Credentials(_) | Self::Ini { .. } => Some(WATCH),
            Self::NoAuthDesign | Self::Stopping => Some(SERVER_WAIT),
        }
    }

    /// Whether commands need not wait for it: nothing changes before an operator does something.
    pub(super) fn needs_operator(&self) -> bool {
        self.wait().is_none() || matches!(self, Self::Couch(CouchError::LoginUnusable(_)))
    }
}

/// Work that would hold up the loop.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BootstrapError> {
    system::blocking(work).await.map_err(|_| BootstrapError::Stopping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_asks_for_a_pause_gets_it_within_reason() {
        let wait = |seconds: Option<u64>| {
            let retry_after = seconds.map(Duration::from_secs);
            BootstrapError::Couch(CouchError::TooManyRequests { origin: String::new(), retry_after }).wait()
        };
        assert_eq!(wait(None), Some(WATCH));
        assert_eq!(wait(Some(0)), Some(WATCH));
        assert_eq!(wait(Some(30)), Some(Duration::from_secs(30)));
        assert_eq!(wait(Some(86_400)), Some(LONGEST_RETRY_AFTER));
    }

    #[test]
    fn a_refused_password_waits_for_a_change_and_nothing_else_does() {
        assert_eq!(BootstrapError::Couch(CouchError::LoginRefused).wait(), None);
        assert!(BootstrapError::Couch(CouchError::LockedOut).wait().is_some());
        assert!(BootstrapError::Stopping.wait().is_some() && !BootstrapError::Stopping.needs_operator());
    }
}
