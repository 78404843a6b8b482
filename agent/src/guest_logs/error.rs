//! Why a log cannot be shown or published.

use super::{LogName, Verb};
use crate::swift::SwiftError;

/// Why a log cannot be shown or published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestLogError {
    /// It is not exposed, and the user is no administrator. Trove's own words.
    #[error("You must be admin to {verb} log '{log}'.")]
    ForAdministrators {
        /// What the user wants.
        verb: Verb,
        /// The log.
        log: LogName,
    },
    /// Trove's own words.
    #[error("Cannot enable and disable log '{0}'.")]
    Contradiction(LogName),
    /// Trove's own words.
    #[error("Cannot {verb} a SYSTEM log ('{log}').")]
    System {
        /// What the user wants.
        verb: Verb,
        /// The log.
        log: LogName,
    },
    /// The agent's log goes to the journal only.
    #[error(
        "the agent's own log is in the journal only, which the agent may not read; an operator has systemd write it to a file, and names \
         that in guest_log.agent_file"
    )]
    NoFile,
    /// The file is missing, or the agent may not read it.
    #[error("the log file {path} {problem}")]
    Unreadable {
        /// The file.
        path: String,
        /// The reason, as a part of a sentence.
        problem: String,
    },
    /// Which logs are disabled cannot be stored.
    #[error(
        "whether a log is disabled can't be written to the agent's state directory ({0}), so nothing was done"
    )]
    NotWritten(String),
    /// The agent's record in the object store is not readable.
    #[error(
        "the object {name} in the container {container} is not the agent's record of what is published; discard the log, then \
         publish it again"
    )]
    Metafile {
        /// The container.
        container: String,
        /// The name of the object.
        name: String,
    },
    /// Another publication takes all the time.
    #[error("another command publishes a log of this instance; repeat the command when it has ended")]
    Busy,
    /// The object store failed.
    #[error(transparent)]
    Swift(#[from] SwiftError),
    /// The object store failed after a part was published.
    #[error("{cause}; {bytes} bytes were published before, and the next publication continues there")]
    Partly {
        /// How much was published by this command.
        bytes: u64,
        /// The cause.
        cause: SwiftError,
    },
    /// The agent stops.
    #[error("the agent is stopping; repeat the command")]
    Stopping,
}
