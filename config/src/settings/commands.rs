//! `[rpc]`, `[operations]` and `[heartbeat]`: limits that protect the agent from a single caller or a bad
//! message, how long finished operations are kept, and how often the guest reports to the conductor.

use std::time::Duration;

use crate::section::section;

section! {
    /// Limits on commands.
    #[derive(Debug, Clone)]
    pub struct RpcSettings = "rpc" {
        /// The largest message that the agent decodes; a larger call gets an error. Trove's largest messages are a
        /// few KiB, except modules.
        // RabbitMQ 3 refuses messages above 128 MiB; Trove's own messages
        // reach 9 KiB (an encrypted `prepare`).
        max_message_bytes: usize = "1048576", in 16_384..=134_217_728;
        /// How many commands on different users and databases run in parallel.
        max_concurrent: usize = "16", in 1..=1024;
        /// How many message ids the agent remembers to recognise duplicates. oslo remembers 16, too few for the
        /// backlog after an outage of the broker.
        duplicate_window: usize = "4096", in 16..=1_048_576;
        /// How many marks of answered messages are kept in the state directory, so that a recorded message has no
        /// effect when it is sent again, also after a restart. A message has one mark; an encrypted message has one
        /// more for each argument and for its context.
        replay_window: usize = "32768", in 1024..=16_777_216;
        /// How long a call keeps retrying while CouchDB is unreachable, and never more than half of the caller's
        /// timeout: long enough for a restart, short enough that the caller learns the reason.
        call_retry_timeout: Duration = "10", in 0.0..=3600.0, was "call_patience";
        /// How long a cast, whose caller does not wait, keeps retrying. Keep it well below consumer_timeout of
        /// RabbitMQ (30 min).
        cast_retry_timeout: Duration = "300", in 0.0..=1500.0, was "cast_patience";
        /// How long `prepare` keeps retrying before the instance fails: long enough for the first start of CouchDB,
        /// and shorter than usage_timeout of Trove (30 min) and consumer_timeout of RabbitMQ.
        prepare_retry_timeout: Duration = "600", in 0.0..=1500.0, was "prepare_patience";
        /// How long running commands may continue after SIGTERM. Keep it below TimeoutStopSec of the systemd unit.
        shutdown_grace: Duration = "25", in 0.0..=3600.0;
    }
}

section! {
    /// How long finished operations are kept.
    #[derive(Debug, Clone, Copy)]
    pub struct OperationSettings = "operations" {
        /// How many finished operations are kept for operation-list and operation-show. The oldest are removed
        /// first.
        keep: usize = "50", in 1..=10_000;
        /// How long a finished operation is kept.
        keep_for: Duration = "2592000", in 60.0..=315_360_000.0;
    }
}

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
