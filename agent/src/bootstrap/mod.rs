//! Gets an `os_admin` login, and gets it back after it was lost.
//!
//! [`Bootstrap::run`] is a single task that runs as long as the agent. Only this task writes [`AdminLogin`](crate::couch::AdminLogin).
//! It inspects the disk and the server, does the step that [`state::next`] returns, and repeats. Once it has
//! a login it watches whether CouchDB still accepts it. It starts over after an outage of CouchDB, because
//! the same address may now serve a different data directory without `_users`.

mod circumstances;
mod error;
mod login;
mod observations;
mod observe;
mod rotate;
mod rotation;
mod state;
mod task;

use error::BootstrapError;
pub use rotation::{RotationDue, RotationError, RotationRequests, Rotator};
pub use task::Bootstrap;
