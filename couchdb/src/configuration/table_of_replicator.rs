//! The options of replication.

use crate::configuration::option::{ConfigOption, Kind::Bool, live, whole};

pub(super) const REPLICATOR: &[ConfigOption] = &[
    live(
        "replicator.checkpoint_interval",
        whole(500, 86_400_000),
        (1, 6),
        "Every how many milliseconds a replication notes how far it is.",
    ),
    live(
        "replicator.connection_timeout",
        whole(1_000, 3_600_000),
        (1, 6),
        "After how many milliseconds a request of a replication fails.",
    ),
    live("replicator.http_connections", whole(1, 10_000), (1, 6), "How many connections a replication has."),
    live(
        "replicator.interval",
        whole(1_000, 86_400_000),
        (2, 1),
        "Every how many milliseconds replications take turns.",
    ),
    live(
        "replicator.max_churn",
        whole(1, 100_000),
        (2, 1),
        "How many replications begin and pause in one turn.",
    ),
    live("replicator.max_history", whole(1, 1_000), (2, 1), "How many events of a replication are kept."),
    live("replicator.max_jobs", whole(1, 1_000_000), (2, 1), "How many replications run at the same time."),
    live(
        "replicator.retries_per_request",
        whole(0, 1_000),
        (1, 6),
        "How often a replication repeats a request.",
    ),
    live("replicator.use_checkpoints", Bool, (1, 6), "Replications note how far they are."),
    live(
        "replicator.worker_batch_size",
        whole(1, 100_000),
        (1, 6),
        "How many documents a replication transfers at once.",
    ),
    live("replicator.worker_processes", whole(1, 1_000), (1, 6), "How many workers a replication has."),
];
