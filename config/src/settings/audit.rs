//! `[audit]`: where each command that changes something is written down.

use std::path::PathBuf;

use crate::error::Mistake;
use crate::inputs::{Inputs, Section};
use crate::section::section;

section! {
    /// The section as it is written.
    #[derive(Debug)]
    struct AuditKeys = "audit" {
        /// Where the agent writes one JSON line for each command that changes something: who, what, the outcome;
        /// never a password. "journal" writes it to the log as target audit, at any log.filter; "off" disables it;
        /// a path is a file of its own, which only its owner can read.
        file: Option<String> = "journal";
        /// The size at which the agent starts a new audit file.
        // A smaller file could not hold a few lines.
        max_bytes: u64 = "10485760", in 16_384..=i64::MAX;
        /// How many older audit files are kept, as NAME.1, NAME.2 and so on.
        keep: usize = "5", in 1..=1000;
    }
}

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
        /// The size at which the agent starts a new audit file.
        max_bytes: u64,
        /// How many older ones are kept.
        keep: usize,
    },
}

impl Section for AuditSettings {
    fn read(inputs: &Inputs) -> Result<Self, Mistake> {
        const FILE: &str = "audit.file";
        let AuditKeys { file, max_bytes, keep } = AuditKeys::read(inputs)?;
        match file.as_deref() {
            None | Some("off") => Ok(Self::Off),
            Some("journal") => Ok(Self::Journal),
            Some(text) => {
                let advice = "write journal, off, or a path that begins with / or ~/";
                let refused = |_| inputs.invalid(FILE, format!("cannot be {text:?}"), advice);
                Ok(Self::File { path: inputs.get(FILE).map_err(refused)?, max_bytes, keep })
            }
        }
    }
}
