//! The service managers, behind one trait: what state a service is in, and how to change it.
//!
//! A back end does what it is told and reports what it sees. It decides nothing: whether a verb is allowed is `policy`'s to
//! say, and how long to wait for which state is `service`'s.

mod commands;
mod docker;
mod systemd;

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;
use trove_couchdb_protocol::host::{HostError, Seen};

use crate::policy::{Manager, ServicePolicy};

/// Why a service manager did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{backend} failed: {reason}")]
pub struct BackendError {
    backend: &'static str,
    reason: String,
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

/// The back end for a service.
pub fn of(service: &ServicePolicy) -> Box<dyn Backend> {
    match &service.manager {
        Manager::Systemd { unit } => Box::new(systemd::Systemd::new(unit.clone())),
        Manager::Docker { socket, container, image, tag } => {
            let (socket, container) = (socket.clone(), container.clone());
            Box::new(docker::Docker::new(socket, container, format!("{image}:{tag}"), service.timeout))
        }
        Manager::Commands { start, stop, status, timeout, output_limit } => {
            let limits = commands::Limits { timeout: *timeout, output: *output_limit };
            Box::new(commands::Commands::new(start.clone(), stop.clone(), status.clone(), limits))
        }
    }
}

/// What a text of a service manager is cut to: it goes into an answer and an audit line.
const MAX_REASON: usize = 500;

/// A text from outside in one line of limited length.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let line: String = line.chars().filter(|letter| !letter.is_control()).take(MAX_REASON).collect();
    if line.is_empty() { "it gave no reason".to_owned() } else { line }
}

/// Between two looks at a service that changes.
pub(crate) const POLL: Duration = Duration::from_millis(100);
