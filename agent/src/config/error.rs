//! Why a configuration was refused, in words an operator can act on.
//!
//! Every message names the place (file, environment variable, option), the key, what was wrong and what to
//! write instead. The text of a secret, or of a line that may hold one, never gets in: messages are printed to
//! the journal. `main` prints the message and exits with status 64 (`EX_USAGE`).

use std::io;
use std::path::PathBuf;

use super::keys::Key;

/// A configuration the agent refuses to start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or directory that should be read cannot be.
    #[error(
        "cannot read {}: {source}; correct the path, or let the agent's user read it",
        path.display()
    )]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// A file does not follow its format's syntax.
    #[error("{} is malformed at {place}: {problem}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Line, and column where known, both counted from 1.
        place: String,
        /// What was found and what belongs there.
        problem: String,
    },

    /// A key of our own file or environment that the agent does not know.
    #[error("{origin}: there is no key {key:?}; {}", suggestion(nearest.as_deref()))]
    UnknownKey {
        /// The file or environment variable that holds it.
        origin: String,
        /// The key as it was written.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },

    /// A value of the wrong type, out of range, or at odds with another.
    #[error("{origin}: {key} {problem}; {advice}")]
    Invalid {
        /// The file, environment variable or option that holds it.
        origin: String,
        /// The key, as `section.name`.
        key: &'static str,
        /// What is wrong with the value; never the value of a secret.
        problem: String,
        /// What to write instead.
        advice: String,
    },

    /// A key without a default that no layer sets.
    #[error("{key} is not set; {advice}")]
    Missing {
        /// The key, as `section.name`.
        key: String,
        /// Where it usually comes from.
        advice: String,
    },

    /// The layers could not be put together.
    #[error("the configuration layers do not merge: {problem}")]
    Layers {
        /// What the merging library said; it sees keys and types, no texts.
        problem: String,
    },
}

impl ConfigError {
    pub(super) fn invalid(
        key: &'static Key,
        origin: impl Into<String>,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::Invalid { origin: origin.into(), key: key.name, problem: problem.into(), advice: advice.into() }
    }

    pub(super) fn unreadable(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Unreadable { path: path.into(), source }
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!("did you mean {name:?}?"),
        None => "docs/configuration.md lists them all".to_owned(),
    }
}
