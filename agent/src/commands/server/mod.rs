//! CouchDB's process and volume: Trove's commands on them, and the agent's own.

mod lifecycle;
mod process;
mod service;
mod volume;

pub(super) use lifecycle::COMMANDS as LIFECYCLE;
#[cfg(test)]
pub(super) use lifecycle::{ResetConfiguration, Restart, StartDb, StopDb};
pub use process::stay_stopped;
pub(super) use process::{start, stop};
pub(super) use service::COMMANDS as SERVICE;
pub(super) use volume::COMMANDS as VOLUME;
