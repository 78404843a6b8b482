//! Why a bootstrap step failed, and when to try again.

use std::time::Duration;

use trove_couchdb_guest::credentials::CredentialsError;

use crate::{
    couch::{CouchError, Degraded},
    system,
};

/// How often to check whether an unreachable server is back.
pub(super) const SERVER_WAIT: Duration = Duration::from_millis(500);

/// How often to check whether a state that needs an operator has changed.
pub(super) const WATCH: Duration = Duration::from_secs(2);

/// How often to try a locked account. While the account is locked CouchDB neither checks the password nor
/// counts the request (`couch_auth_lockout.erl`).
const LOCKED_WAIT: Duration = Duration::from_secs(10);

/// The longest pause that a server may request with `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The credentials file cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The ini file cannot be read or written.
    #[error("the ini file {path} can't be read or written: {source}")]
    Ini {
        /// Its path.
        path: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A request to CouchDB failed.
    #[error(transparent)]
    Couch(#[from] CouchError),
    /// CouchDB accepts the login but can't do its work, and the cause is known.
    #[error("{}", .0.reason)]
    Impaired(Degraded),
    /// CouchDB refused the configured bootstrap administrator.
    #[error("CouchDB refuses the configured bootstrap_admin {0:?}; correct its name or password")]
    BootstrapAdminRefused(String),
    /// `_users` has no design document.
    #[error(
        "CouchDB has not created _design/_auth in _users; without it, every user could store any document there"
    )]
    NoAuthDesign,
    /// The runtime is shutting down.
    #[error("the agent is stopping")]
    Stopping,
    /// Only the operator can change this state.
    #[error("{0}")]
    Stuck(&'static str),
}

impl BootstrapError {
    /// How long to wait, or `None` to wait for a change: every further try of a refused password counts
    /// towards CouchDB's lockout.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Couch(CouchError::LoginRefused) | Self::BootstrapAdminRefused(_) | Self::Stuck(_) => None,
            Self::Couch(error) if error.is_outage() => Some(SERVER_WAIT),
            Self::Couch(CouchError::LockedOut) => Some(LOCKED_WAIT),
            Self::Couch(CouchError::TooManyRequests { retry_after, .. }) => {
                Some(retry_after.unwrap_or(WATCH).clamp(WATCH, LONGEST_RETRY_AFTER))
            }
            Self::Couch(_) | Self::Impaired(_) | Self::Credentials(_) | Self::Ini { .. } => Some(WATCH),
            Self::NoAuthDesign | Self::Stopping => Some(SERVER_WAIT),
        }
    }

    /// Whether commands fail at once instead of waiting, because nothing changes until an operator acts.
    pub(super) fn needs_operator(&self) -> bool {
        self.wait().is_none() || matches!(self, Self::Couch(CouchError::LoginUnusable(_)))
    }
}

/// Runs blocking work outside of the async runtime.
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
