//! Why an option of CouchDB is not set.

use trove_couchdb_protocol::Quoted;

use crate::ServerVersion;

/// Why an option is refused. Nothing was changed, and the text holds no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No option has this name.
    #[error("there is no option {0}, or it can't be set; the options are in docs/couchdb-options.md")]
    Unknown(Quoted),
    /// CouchDB has the option, and it must not be set.
    #[error("{name} can't be set: {reason}")]
    Forbidden {
        /// The option or section.
        name: String,
        /// The reason.
        reason: &'static str,
    },
    /// The value is of the wrong type, or out of range.
    #[error("{option} must be {expected}")]
    WrongValue {
        /// The option.
        option: &'static str,
        /// What it takes.
        expected: String,
    },
    /// An option is named twice with different values.
    #[error("{0} is set twice")]
    Twice(&'static str),
    /// The server is too old or too new for the option.
    #[error("{option} has no effect on CouchDB {version}: it is for {versions}")]
    WrongVersion {
        /// The option.
        option: &'static str,
        /// The server's version.
        version: ServerVersion,
        /// The versions on which it has an effect.
        versions: String,
    },
    /// The text is no ini file.
    #[error("line {line} of the configuration is neither a section nor \"key = value\"")]
    NotIni {
        /// The number of the line.
        line: usize,
    },
    /// The agent could not log in any more.
    #[error("the agent would be locked out: {0}")]
    LocksOut(String),
    /// CouchDB would be open to everyone.
    #[error("CouchDB would be open: {0}")]
    Opens(&'static str),
}
