//! `[log]`: what is logged, and how. The log goes to standard error, where the journal takes it, or to the journal itself.

use trove_couchdb_protocol::trove::{LogFilter, LogFilterError};

use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};

pub(in crate::config) const KEYS: &[Key] = &[
    Key::new(
        "log.filter",
        Kind::Text,
        "A level (off, error, warn, info, debug, trace), or several as target=level with commas between: \
         \"info,trove_couchdb_agent::couch=debug\". Read again on SIGHUP; `trove-couchdb log-level` changes it until then.",
    )
    .default("info"),
    Key::new("log.format", Kind::Text, "\"text\" for people or \"json\" for a log collector, both to standard error; \"journal\" for systemd's journal, \
         each field as one of its own.")
        .default("text"),
];

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Which lines.
    pub filter: LogFilter,
    /// The form of each line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// Straight to systemd's journal, with every field as one of the journal's.
    Journal,
}

impl LogSettings {
    pub(super) fn from_input(input: Section<'_>) -> Result<Self, ConfigError> {
        let filter = input.required_text("filter")?;
        let filter = filter.parse().map_err(|error: LogFilterError| {
            input.invalid("filter", error.to_string(), LogFilterError::advice())
        })?;
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json), ("journal", LogFormat::Journal)];
        Ok(Self { filter, format: input.choice("format", &formats)? })
    }
}
