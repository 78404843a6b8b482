//! The way to an `os_admin` login, and back to it when it was lost.
//!
//! [`Bootstrap::run`] is one task for the life of the agent and the only writer of [`AdminLogin`]: it looks at
//! the disk and the server, does the one step that [`state::next`] names, and looks again. Once there is a
//! login it watches whether CouchDB still takes it, and looks again when CouchDB was away: another data directory
//! may stand behind the same address, without `_users`.

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
