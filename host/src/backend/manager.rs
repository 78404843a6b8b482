//! The interface of all back ends: a service manager and one of its services.

use std::fmt;

use futures_util::future::BoxFuture;
use trove_couchdb_protocol::host::{HostError, Observed};

/// The reason why a service manager failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{backend} failed: {reason}")]
pub struct BackendError {
    pub(super) backend: &'static str,
    pub(super) reason: String,
}

impl From<BackendError> for HostError {
    fn from(error: BackendError) -> Self {
        Self::Backend { backend: error.backend.to_owned(), reason: error.reason }
    }
}

/// The answer of a service manager.
pub type Answered<'a, T> = BoxFuture<'a, Result<T, BackendError>>;

/// A service manager and one of its services.
pub trait Backend: fmt::Debug + Send + Sync {
    /// The current state of the service.
    fn look(&self) -> Answered<'_, Observed>;

    /// Starts the service. Returns when the manager reports success.
    fn start(&self) -> Answered<'_, ()>;

    /// Stops the service. Returns when the manager reports success.
    fn stop(&self) -> Answered<'_, ()>;

    /// Restarts the service in one step. `None` if the manager can't.
    fn restart(&self) -> Option<Answered<'_, ()>>;
}
