//! Whether commands can arrive from the broker. The transport writes it; heartbeat, systemd and reports read
//! it.

/// The agent's connection to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// No broker is configured. Commands arrive over the local socket only.
    Absent,
    /// No connection.
    Down {
        /// The broker that was tried last; `None` before the first try.
        address: Option<String>,
        /// Why there is no connection; empty before the first try.
        reason: String,
    },
    /// Consuming, but the broker accepts no messages (`connection.blocked`): it is short of memory or disk.
    /// Commands arrive, and their answers wait.
    Blocked {
        /// The broker, `HOST:PORT`.
        address: String,
        /// The broker's reason.
        reason: String,
    },
    /// Consuming.
    Up {
        /// The broker, `HOST:PORT`.
        address: String,
    },
}

impl Link {
    /// The state before the first try.
    pub fn not_tried() -> Self {
        Self::Down { address: None, reason: String::new() }
    }

    /// Whether commands can arrive from the broker.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. } | Self::Blocked { .. })
    }
}
