//! Errors of a CouchDB that can't open its files.

use crate::reply::{error::CouchError, reason::NO_FILES};

/// The answers to `PUT /DATABASE` and to `_all_docs` of a database that can't be opened. There are other causes.
const UNCLEAR: [&str; 2] = ["internal_server_error", "progress not possible"];

impl CouchError {
    /// Whether CouchDB reports that it can't open a further file.
    pub(crate) fn is_out_of_files(&self) -> bool {
        matches!(self, Self::Server { status: 500, reason } if reason == NO_FILES)
    }

    /// Whether the cause may be that CouchDB can't open its files. Its answers name only some of them.
    pub(crate) fn may_be_of_its_files(&self) -> bool {
        matches!(self, Self::Unopenable { .. })
            || self.is_unopenable()
            || self.is_out_of_files()
            || matches!(self, Self::Server { status: 500, reason } if UNCLEAR.contains(&reason.as_str()))
    }

    /// The error without advice, for a text that names the checked cause.
    pub(crate) fn without_advice(&self) -> String {
        match self {
            Self::Server { status, reason } => format!("CouchDB failed ({status}: {reason})"),
            Self::Unopenable { unknown, count, .. } => {
                format!("CouchDB could not open {unknown} of {count} databases")
            }
            other => other.to_string(),
        }
    }
}
