//! Reports the state of the guest: by heartbeats to the conductor, by `sd_notify` to systemd.
//!
//! ```text
//! guest (every change of its state) ----> policy --------+
//! probe (a request as os_admin) -> watch<ProbeResult> ---+-> heartbeat -> outbox -> transport -> conductor
//! transport -> watch<Link> -----------------------------+-> notify -> systemd
//! room -> watch<RoomReport> ----------------------------+
//!                                                       +-> agent_status -> the answer to get_agent_status
//! ```

mod agent_status;
mod condition;
mod counters;
mod heartbeat;
mod link;
mod notify;
mod outbox;
mod policy;
mod probe;
mod sent;

pub use agent_status::AgentStatus;
pub use condition::{HEALTH_WORDS, condition, health_word, outline};
pub use counters::{CommandCounters, Figures, InFlightGuard, LastError, Retrying};
pub use heartbeat::{Heartbeat, HeartbeatTerms};
pub use link::Link;
pub use notify::Notify;
pub use outbox::{LastReported, Outbox};
pub use probe::{ProbeResult, probe_for_ever};
