//! What every back end is: a service manager with the one service that it is asked about.

use std::fmt;

use futures_util::future::BoxFuture;
use trove_couchdb_protocol::host::{HostError, Seen};

/// Why a service manager did not do something.
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

/// A service manager with the one service that it is asked about.
pub trait Backend: fmt::Debug + Send + Sync {
    /// The state that the service is in now.
    fn look(&self) -> Answered<'_, Seen>;

    /// Starts it, and returns when the manager says so.
    fn start(&self) -> Answered<'_, ()>;

    /// Stops it, and returns when the manager says so.
    fn stop(&self) -> Answered<'_, ()>;

    /// Stops and starts it in one step; `None` if the manager has no such step.
    fn restart(&self) -> Option<Answered<'_, ()>>;
}

/// What a text of a service manager is cut to: it goes into an answer and an audit line.
const MAX_REASON: usize = 500;

/// A text from outside in one line of limited length.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let line: String = line.chars().filter(|letter| !letter.is_control()).take(MAX_REASON).collect();
    if line.is_empty() { "it gave no reason".to_owned() } else { line }
}
