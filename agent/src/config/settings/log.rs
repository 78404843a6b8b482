//! `[log]`: what is logged, and how. The log goes to standard error, where the journal takes it.

use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

pub(in crate::config) const KEYS: &[Key] = &[
    Key::new(
        "log.filter",
        Kind::Text,
        "A level (off, error, warn, info, debug, trace), or several as target=level with commas between: \
         \"info,trove_couchdb_agent::couch=debug\".",
    )
    .default("info"),
    Key::new("log.format", Kind::Text, "\"text\" for people or \"json\" for a log collector.")
        .default("text"),
];

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// In the syntax of `tracing_subscriber::filter::Targets`, and known to be well-formed.
    pub filter: String,
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
}

impl LogSettings {
    pub(super) fn from_input(input: Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            filter: filter(input)?,
            format: input.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])?,
        })
    }
}

/// `Targets` takes a bare word that is no level for a target, so a misspelt level would silence the log.
fn filter(input: Section<'_>) -> Result<String, ConfigError> {
    let filter = input.required_text("filter")?;
    for directive in filter.split(',') {
        let (target, level) = directive.split_once('=').unwrap_or(("all", directive));
        if target.trim().is_empty() || !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level.trim())) {
            let advice = format!("write one of {}, or target=level, with commas between", LEVELS.join(", "));
            return Err(input.invalid("filter", format!("has the part {directive:?}"), advice));
        }
    }
    Ok(filter)
}
