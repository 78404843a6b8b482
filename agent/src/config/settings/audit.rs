//! `[audit]`: where each command that changes something is written down.

use std::path::PathBuf;

use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};

pub(in crate::config) const KEYS: &[Key] = &[
    Key::new(
        "audit.file",
        Kind::Text,
        "Where one JSON line goes for each command that changes something: who, what, how it ended; never a \
         password. \"journal\" writes it to the log as target audit, at any log.filter; \"off\" nowhere; a path to a \
         file of its own, which only its owner may read.",
    )
    .default("journal"),
    Key::new("audit.max_bytes", Kind::Count, "The size at which a new audit file is begun.").default("10485760"),
    Key::new("audit.keep", Kind::Count, "How many older audit files are kept, as NAME.1, NAME.2 and so on.")
        .default("5"),
];

/// Where commands that change something are written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSettings {
    /// Nowhere.
    Off,
    /// With the log.
    Journal,
    /// In a file of its own.
    File {
        /// Its path.
        path: PathBuf,
        /// The size at which a new one is begun.
        max_bytes: u64,
        /// How many older ones are kept.
        keep: usize,
    },
}

impl AuditSettings {
    pub(super) fn from_input(input: Section<'_>) -> Result<Self, ConfigError> {
        // A smaller file could not hold a few lines.
        let max_bytes = input.count("max_bytes", 16_384..=i64::MAX)?;
        let keep = input.count("keep", 1..=1000)?;
        Ok(match input.text("file")?.as_deref() {
            None | Some("off") => Self::Off,
            Some("journal") => Self::Journal,
            Some(_) => match input.path("file") {
                Ok(Some(path)) => Self::File { path, max_bytes, keep },
                Ok(None) => Self::Off,
                Err(_) => {
                    let shown = input.text("file")?.unwrap_or_default();
                    let advice = "write journal, off, or a path that begins with / or ~/";
                    return Err(input.invalid("file", format!("cannot be {shown:?}"), advice));
                }
            },
        })
    }
}
