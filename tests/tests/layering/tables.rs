//! The allowed imports, and crates that only one module may use.

/// The modules of the agent that a module, or one below it, may import.
pub(super) const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("log", &["trace"]),
    ("trace", &[]),
    ("exit", &[]),
    ("guest", &["couch", "system"]),
    ("leftovers", &["system"]),
    ("metrics", &[]),
    ("requests", &["couch", "metrics", "trace"]),
    ("bootstrap", &["couch", "system"]),
    ("room", &["couch"]),
    ("status", &["couch", "guest", "operations", "room", "system"]),
    ("audit", &[]),
    ("operations", &["audit", "system"]),
    ("commands", &["bootstrap", "couch", "guest", "host", "log", "operations", "status", "system"]),
    ("transport", &["audit", "commands", "metrics", "status"]),
    ("transport/amqp", &["audit", "metrics", "status", "system"]),
    ("transport/local", &["audit", "system"]),
    ("transport/rpc", &["audit", "commands", "log", "metrics", "operations", "status", "system", "trace"]),
    ("monitor", &["couch", "guest", "metrics", "operations", "room", "status", "system"]),
    ("checks", &["app", "exit", "log", "system"]),
    (
        "app",
        &[
            "audit",
            "bootstrap",
            "commands",
            "couch",
            "guest",
            "host",
            "leftovers",
            "log",
            "metrics",
            "monitor",
            "operations",
            "requests",
            "room",
            "status",
            "system",
            "trace",
            "transport",
        ],
    ),
];

/// The workspace crates that a crate may depend on, by their directories.
pub(super) const MAY_DEPEND: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("system", &[]),
    ("delivery", &[]),
    ("config", &["protocol", "system"]),
    ("couchdb", &["protocol", "system"]),
    ("guest", &["config", "couchdb", "protocol", "system"]),
    ("host", &["protocol"]),
    ("agent", &["config", "couchdb", "delivery", "guest", "protocol", "system"]),
    ("cli", &["config", "couchdb", "guest", "protocol", "system"]),
];

/// The same for the privileged helper (the table in `host/src/lib.rs`).
pub(super) const HOSTD_MAY_IMPORT: &[(&str, &[&str])] = &[
    ("args", &[]),
    ("audit", &[]),
    ("policy", &[]),
    ("backend", &["policy"]),
    ("service", &["backend", "policy"]),
    ("connection", &["audit", "policy", "service"]),
    ("server", &["audit", "connection", "policy", "service"]),
];

/// The parts of `transport` that a part of it may use.
pub(super) const PARTS_OF_TRANSPORT: &[(&str, &[&str])] =
    &[("rpc", &[]), ("amqp", &["rpc"]), ("local", &["rpc"])];

/// Crates that only one module may use.
pub(super) const ONLY_IN: &[(&str, &[&str])] = &[
    ("lapin", &["transport/amqp"]),
    ("trove_couchdb_delivery", &["transport/rpc"]),
    ("reqwest", &["trace"]),
    ("sd_notify", &["status"]),
    ("hyper", &["monitor"]),
    ("prometheus_client", &["metrics"]),
    ("tracing_journald", &["log"]),
    ("opentelemetry", &["trace"]),
    ("nix", &[]),
    ("rustls", &["main"]),
    ("clap", &["main"]),
];
