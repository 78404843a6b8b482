//! The interface of all back ends: a service manager and one of its services.

use std::fmt;

use futures_util::future::BoxFuture;
use trove_couchdb_protocol::host::{HostError, Seen};

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
    fn look(&self) -> Answered<'_, Seen>;

    /// Starts the service. Returns when the manager reports success.
    fn start(&self) -> Answered<'_, ()>;

    /// Stops the service. Returns when the manager reports success.
    fn stop(&self) -> Answered<'_, ()>;

    /// Restarts the service in one step. `None` if the manager can't.
    fn restart(&self) -> Option<Answered<'_, ()>>;
}

/// The maximum length of a service manager's text in an answer and an audit line.
const MAX_REASON: usize = 500;

/// Reduces an external text to one line of limited length.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let line: String = line.chars().filter(|letter| !letter.is_control()).take(MAX_REASON).collect();
    if line.is_empty() { "it gave no reason".to_owned() } else { line }
}
