//! How the guest does, told to whoever should know: the conductor by heartbeats, systemd by `sd_notify`.
//!
//! ```text
//! guest (every change of its state) ----> policy --------+
//! probe (a request as os_admin) -> watch<ProbeResult> ---+-> heartbeat -> outbox -> transport -> trove-conductor
//! transport -> watch<Link> -----------------------------+-> notify -> systemd
//!                                                       +-> report -> the answer to get_agent_status
//! ```

mod condition;
mod heartbeat;
mod link;
mod notify;
mod outbox;
mod policy;
mod probe;
mod report;
mod sent;
mod tally;

pub use condition::{condition, outline};
pub use heartbeat::{Heartbeat, HeartbeatTerms};
pub use link::Link;
pub use notify::Notify;
pub use outbox::{Outbox, Told};
pub use probe::{ProbeResult, probe_for_ever};
pub use report::Report;
pub use tally::{Figures, LastError, Passage, Retrying, Tally};
