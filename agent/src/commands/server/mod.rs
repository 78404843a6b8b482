//! CouchDB's process: Trove's commands on it, and the agent's own.

mod lifecycle;
mod process;
mod service;

pub(super) use lifecycle::COMMANDS as LIFECYCLE;
#[cfg(test)]
pub(super) use lifecycle::{ResetConfiguration, Restart, StartDb, StopDb};
pub use process::end_of;
pub(super) use service::COMMANDS as SERVICE;
