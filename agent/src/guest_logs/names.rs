//! The names of logs, of what users want of them, and of the objects that they are published as.

use std::{fmt, time::SystemTime};

/// In the names of objects Trove has the datastore's manager here. It may change with a rebuild, and CouchDB may
/// be registered under another datastore's manager, so the agent always writes this.
const DATASTORE: &str = "couchdb";

/// A log of this guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogName {
    /// CouchDB's.
    Couchdb,
    /// The agent's own. Trove's guests call it so.
    Guest,
}

impl LogName {
    /// All logs.
    pub const ALL: [Self; 2] = [Self::Couchdb, Self::Guest];

    /// The log with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|log| log.as_str() == name)
    }

    /// The name in Trove.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Couchdb => "couchdb",
            Self::Guest => "guest",
        }
    }

    /// Whether it is always enabled.
    pub(super) const fn is_system(self) -> bool {
        matches!(self, Self::Guest)
    }

    /// `LogType` of `trove/guestagent/guest_log.py`.
    pub(super) const fn type_name(self) -> &'static str {
        if self.is_system() { "SYS" } else { "USER" }
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a user wants of a log. Without any of it the log is only shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "Trove sends any of the four")]
pub struct Wanted {
    /// Take it back into what is offered.
    pub enable: bool,
    /// Take it out.
    pub disable: bool,
    /// Publish what is new.
    pub publish: bool,
    /// Delete what was published.
    pub discard: bool,
}

/// What a user wants, as a word of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Enable.
    Enable,
    /// Disable.
    Disable,
    /// Publish.
    Publish,
    /// Discard.
    Discard,
    /// Show.
    Show,
}

impl Verb {
    pub(super) fn of(wanted: Wanted) -> Self {
        match wanted {
            Wanted { publish: true, .. } => Self::Publish,
            Wanted { discard: true, .. } => Self::Discard,
            Wanted { enable: true, .. } => Self::Enable,
            Wanted { disable: true, .. } => Self::Disable,
            _ => Self::Show,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Publish => "publish",
            Self::Discard => "discard",
            Self::Show => "show",
        })
    }
}

/// The beginning of the names of all pieces. The metafile does not begin so.
pub(super) fn prefix(guest_id: &str, log: LogName) -> String {
    format!("{guest_id}/{DATASTORE}-{log}/")
}

/// The name of the metafile.
pub(super) fn metafile(guest_id: &str, log: LogName) -> String {
    format!("{guest_id}/{DATASTORE}-{log}_metafile")
}

/// The last part of a new piece's name: `log-` and the time, as Python prints it.
pub(super) fn piece(now: SystemTime) -> String {
    let time = humantime::format_rfc3339_micros(now).to_string();
    format!("log-{}", time.trim_end_matches('Z'))
}

/// Whether a name can be one of [`piece`].
pub(super) fn is_piece(name: &str) -> bool {
    let time = name.strip_prefix("log-").unwrap_or_default();
    (1..=40).contains(&time.len()) && time.chars().all(|c| c.is_ascii_digit() || "-:.T".contains(c))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn objects_have_troves_names() {
        assert_eq!(prefix("g", LogName::Couchdb), "g/couchdb-couchdb/");
        assert_eq!(metafile("g", LogName::Guest), "g/couchdb-guest_metafile");
        let name = piece(SystemTime::UNIX_EPOCH + Duration::from_micros(1_796_070_000_000_007));
        assert_eq!(name, "log-2026-11-30T20:20:00.000007");
        assert!(is_piece(&name));
        for other in
            ["", "log-", "log-../x", "log-1/2", "x-2026", "log-2026-11-30T21:40:00.000007000000000000000000"]
        {
            assert!(!is_piece(other), "{other}");
        }
    }
}
