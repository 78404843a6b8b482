//! How the guest does, told to whoever should know: the conductor by heartbeats, systemd by `sd_notify`.
//!
//! ```text
//! preparation (every stage) -----------> voice ----------+
//! probe (a real request as os_admin) -> watch<Health> --+-> heartbeat -> outbox -> transport -> trove-conductor
//! transport -> watch<Link> -----------------------------+-> notify -> systemd
//! ```

mod heartbeat;
mod notify;
mod probe;
mod sent;
mod voice;

pub use heartbeat::Heartbeat;
pub use notify::Notify;
pub use probe::probe_for_ever;

/// Whether commands can arrive. The transport writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// No broker; the text says why, and is empty before the first try.
    Down(String),
    /// Consuming.
    Up,
}
