//! `[log]`: what is logged, and how. The log goes to standard error, where the journal takes it, or to the journal itself.

use trove_couchdb_protocol::trove::{LogFilter, LogFilterError};

use crate::error::Mistake;
use crate::inputs::Inputs;
use crate::section::section;

section! {
    /// What is logged, and how.
    #[derive(Debug, Clone)]
    pub struct LogSettings = "log" {
        /// A level (off, error, warn, info, debug, trace), or several as target=level, separated by commas:
        /// "info,trove_couchdb_agent::couch=debug". The agent reads it again on SIGHUP; until then `trove-couchdb
        /// log-level` can override it.
        filter: LogFilter = "info", by Text filter;
        /// "text" for people or "json" for a log collector, both to standard error; "journal" for systemd's
        /// journal, with each field as a field of its own.
        format: LogFormat = "text", by Text format;
    }
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

fn filter(inputs: &Inputs, key: &'static str) -> Result<LogFilter, Mistake> {
    let refused = |error: LogFilterError| inputs.invalid(key, error.to_string(), LogFilterError::advice());
    inputs.required_text(key)?.parse().map_err(refused)
}

fn format(inputs: &Inputs, key: &'static str) -> Result<LogFormat, Mistake> {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json), ("journal", LogFormat::Journal)];
    inputs.choice(key, &formats)
}
