//! `[audit]`: where each command that changes something is written down.

use std::path::PathBuf;

use crate::section::section;
use crate::validation::{Section, Validation};

section! {
    /// The section as it is written.
    #[derive(Debug)]
    struct AuditKeys = "audit" {
        /// Where one JSON line goes for each command that changes something: who, what, how it ended; never a
        /// password. "journal" writes it to the log as target audit, at any log.filter; "off" nowhere; a path to a
        /// file of its own, which only its owner may read.
        file: Option<String> = "journal";
        /// The size at which a new audit file is begun.
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
        /// The size at which a new one is begun.
        max_bytes: u64,
        /// How many older ones are kept.
        keep: usize,
    },
}

impl Section for AuditSettings {
    fn read(validation: &mut Validation) -> Option<Self> {
        const FILE: &str = "audit.file";
        let AuditKeys { file, max_bytes, keep } = AuditKeys::read(validation)?;
        match file.as_deref() {
            None | Some("off") => Some(Self::Off),
            Some("journal") => Some(Self::Journal),
            Some(text) => {
                let advice = "write journal, off, or a path that begins with / or ~/";
                let path = validation.read(|inputs| {
                    let refused = |_| inputs.invalid(FILE, format!("cannot be {text:?}"), advice);
                    inputs.get::<PathBuf>(FILE).map_err(refused)
                });
                // After the mistake no path is used.
                Some(Self::File { path: path.unwrap_or_default(), max_bytes, keep })
            }
        }
    }
}
