//! `[rpc]`: limits that keep one caller, or one bad message, from taking the agent down.

use std::time::Duration;

use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};

pub(in crate::config) const KEYS: &[Key] = &[
    Key::new(
        "rpc.max_message_bytes",
        Kind::Count,
        "The largest message the agent decodes; a larger call is answered with an error. The largest that Trove sends are a few KiB, modules aside.",
    )
    .default("1048576"),
    Key::new(
        "rpc.max_concurrent",
        Kind::Count,
        "How many commands on different users and databases run side by side.",
    )
    .default("16"),
    Key::new(
        "rpc.duplicate_window",
        Kind::Count,
        "How many message ids are remembered to recognise a message delivered twice. oslo remembers 16, too few \
         after a broker that comes back hands out a backlog.",
    )
    .default("4096"),
    Key::new(
        "rpc.replay_window",
        Kind::Count,
        "How many marks of messages that were answered are kept in the state directory, so that a recorded message \
         that somebody sends again does nothing, also after a restart. A message has one, and with encryption one \
         more for each argument and for its context.",
    )
    .default("32768"),
    Key::new(
        "rpc.call_patience",
        Kind::Seconds,
        "How long a call bears with a CouchDB that is away, and never longer than half of what its caller waits: long enough for a restart, short enough that the caller learns the reason.",
    )
    .default("10"),
    Key::new(
        "rpc.cast_patience",
        Kind::Seconds,
        "How long a cast does; nobody waits for it. Keep it well below consumer_timeout of RabbitMQ (30 min).",
    )
    .default("300"),
    Key::new(
        "rpc.prepare_patience",
        Kind::Seconds,
        "How long `prepare` does, before the instance is told to have failed: long enough for the first start of \
         CouchDB, and shorter than usage_timeout of Trove (30 min) and consumer_timeout of RabbitMQ.",
    )
    .default("600"),
    Key::new(
        "rpc.shutdown_grace",
        Kind::Seconds,
        "How long commands may still run after SIGTERM. Keep it below TimeoutStopSec of the systemd unit.",
    )
    .default("25"),
];

/// Limits on commands.
#[derive(Debug, Clone)]
pub struct RpcSettings {
    /// The largest message body that is decoded, in bytes.
    pub max_message_bytes: usize,
    /// How many commands run side by side.
    pub max_concurrent: usize,
    /// How many message ids are remembered.
    pub duplicate_window: usize,
    /// How many marks of carried-out messages are kept.
    pub replay_window: usize,
    /// How long a call waits for a CouchDB that is away, at most.
    pub call_patience: Duration,
    /// How long a cast does.
    pub cast_patience: Duration,
    /// How long `prepare` does.
    pub prepare_patience: Duration,
    /// How long commands may run on after SIGTERM.
    pub shutdown_grace: Duration,
}

impl RpcSettings {
    pub(super) fn from_input(input: Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            // RabbitMQ 3 refuses messages above 128 MiB; Trove's own reach 9 KiB (an encrypted `prepare`).
            max_message_bytes: input.count("max_message_bytes", 16_384..=134_217_728)?,
            max_concurrent: input.count("max_concurrent", 1..=1024)?,
            duplicate_window: input.count("duplicate_window", 16..=1_048_576)?,
            replay_window: input.count("replay_window", 1024..=16_777_216)?,
            call_patience: input.seconds("call_patience", 0.0..=3600.0)?,
            cast_patience: input.seconds("cast_patience", 0.0..=1500.0)?,
            prepare_patience: input.seconds("prepare_patience", 0.0..=1500.0)?,
            shutdown_grace: input.seconds("shutdown_grace", 0.0..=3600.0)?,
        })
    }
}
