//! `[rpc]`: limits that keep one caller, or one bad message, from taking the agent down.

use std::time::Duration;

use crate::section::section;

section! {
    /// Limits on commands.
    #[derive(Debug, Clone)]
    pub struct RpcSettings = "rpc" {
        /// The largest message that the agent decodes; a larger call gets an error. Trove's largest messages are a
        /// few KiB, except modules.
        // RabbitMQ 3 refuses messages above 128 MiB; Trove's own reach 9 KiB (an encrypted `prepare`).
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
        call_patience: Duration = "10", in 0.0..=3600.0;
        /// How long a cast, whose caller does not wait, keeps retrying. Keep it well below consumer_timeout of
        /// RabbitMQ (30 min).
        cast_patience: Duration = "300", in 0.0..=1500.0;
        /// How long `prepare` keeps retrying before the instance fails: long enough for the first start of CouchDB,
        /// and shorter than usage_timeout of Trove (30 min) and consumer_timeout of RabbitMQ.
        prepare_patience: Duration = "600", in 0.0..=1500.0;
        /// How long running commands may continue after SIGTERM. Keep it below TimeoutStopSec of the systemd unit.
        shutdown_grace: Duration = "25", in 0.0..=3600.0;
    }
}
