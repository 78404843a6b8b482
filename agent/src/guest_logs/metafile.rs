//! The metafile of a log: how much of which file is published.
//!
//! Trove's members are `log_name`, `log_type`, `log_file`, `log_size` and `log_header_digest`; its readers ignore
//! others. The agent adds `next_piece`: the piece that it is about to write. If it is killed after the piece was
//! written and before that is recorded, the next publication writes the same piece again under the same name.

use serde::{Deserialize, Serialize};

use super::{LogName, file::LogFile, names};

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Metafile {
    log_name: String,
    log_type: String,
    log_file: String,
    /// How many bytes of the file are published.
    #[serde(rename = "log_size")]
    pub(super) size: u64,
    /// MD5 of the file's first line.
    #[serde(rename = "log_header_digest")]
    header: String,
    /// The piece that is perhaps written.
    #[serde(rename = "next_piece", default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<NextPiece>,
}

/// A piece that is perhaps written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct NextPiece {
    pub(super) name: String,
    /// The end of its bytes in the file; it begins where the last one ends.
    pub(super) end: u64,
}

impl Metafile {
    /// Nothing of the file is published.
    pub(super) fn begin(log: LogName, file: &LogFile) -> Self {
        Self {
            log_name: log.as_str().to_owned(),
            log_type: log.type_name().to_owned(),
            log_file: file.path.display().to_string(),
            size: 0,
            header: file.header.clone(),
            next: None,
        }
    }

    /// Whether the file is another one than the one that was published from, as Trove's guests judge it: it is
    /// shorter, or begins with another line.
    pub(super) fn is_rotated(&self, file: &LogFile) -> bool {
        self.size > 0 && (file.size < self.size || file.header != self.header)
    }

    /// The same for the file of today. Before anything is published, its first line may still grow.
    pub(super) fn of_today(self, file: &LogFile) -> Self {
        Self { header: file.header.clone(), log_file: file.path.display().to_string(), ..self }
    }

    /// The piece that was perhaps written. Anyone with access to the container can change the metafile, so it
    /// counts only if it makes sense for this file.
    pub(super) fn interrupted(&self, file: &LogFile, longest: u64) -> Option<&NextPiece> {
        let makes_sense = |next: &&NextPiece| {
            let length = next.end.checked_sub(self.size);
            names::is_piece(&next.name)
                && next.end <= file.size
                && length.is_some_and(|length| (1..=longest).contains(&length))
        };
        self.next.as_ref().filter(makes_sense)
    }
}
