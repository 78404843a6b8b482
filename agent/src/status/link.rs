//! Whether commands can arrive over the bus. The transport writes it; heartbeat, systemd and reports read it.

/// The agent's connection to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// No broker is configured; commands come over the local socket only.
    Absent,
    /// No connection.
    Down {
        /// The broker that was tried last, `None` before the first try.
        address: Option<String>,
        /// Why there is none; empty before the first try.
        reason: String,
    },
    /// Consuming, and the broker takes no messages for the time being (`connection.blocked`): it is short of memory or disk.
    /// Commands arrive; their answers wait.
    Blocked {
        /// The broker, `HOST:PORT`.
        address: String,
        /// The broker's own words.
        reason: String,
    },
    /// Consuming.
    Up {
        /// The broker, `HOST:PORT`.
        address: String,
    },
}

impl Link {
    /// Before the first try.
    pub fn not_tried() -> Self {
        Self::Down { address: None, reason: String::new() }
    }

    /// Whether commands can arrive over the bus.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. } | Self::Blocked { .. })
    }
}
