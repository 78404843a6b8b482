//! `[heartbeat]`: how often the conductor hears from this guest.

use std::time::Duration;

use crate::section::section;

section! {
    /// Status reports to the conductor.
    #[derive(Debug, Clone)]
    pub struct HeartbeatSettings = "heartbeat" {
        /// Time between two status reports. Trove shows an instance as failed when it gets no report for
        /// agent_heartbeat_expiry (90 s).
        interval: Duration = "30", in 1.0..=3600.0, oslo [("DEFAULT", "report_interval")];
        /// The share of the interval by which each report may be early or late, so that the guests of one cloud do
        /// not report at the same moment.
        jitter: f64 = "0.1", in 0.0..=0.5;
        /// Report the status although Trove never sent `prepare`: for a guest that was created by hand. For other
        /// guests an early report makes Trove take the instance for ready.
        assume_prepared: bool = "false";
    }
}
