//! Why a configuration was refused, with advice for the operator.
//!
//! Every message names the origin (file, environment variable, option), the key, the problem and the fix. It
//! never contains a secret, or a line that may contain one, because messages are printed to the journal.
//! `main` prints the message and exits with status 64 (`EX_USAGE`).

use std::io;
use std::path::PathBuf;

use trove_couchdb_protocol::text::NotText;

/// A configuration that the agent refuses to start with.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ConfigError(Mistake);

impl ConfigError {
    /// Whether the agent is merely not configured yet: Trove has not written its files, and no operator has
    /// set an instance, a broker or `local:`.
    pub fn is_unconfigured(&self) -> bool {
        match &self.0 {
            Mistake::Several(all) => all.iter().all(Mistake::is_unconfigured),
            only => only.is_unconfigured(),
        }
    }
}

impl From<Vec<Mistake>> for ConfigError {
    fn from(mut mistakes: Vec<Mistake>) -> Self {
        let only = if mistakes.len() == 1 { mistakes.pop() } else { None };
        Self(only.unwrap_or(Mistake::Several(mistakes)))
    }
}

/// A mistake in the configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Mistake {
    /// A file or directory cannot be read.
    #[error(
        "cannot read {}: {cause}; correct the path, or let the agent's user read it",
        path.display()
    )]
    Unreadable { path: PathBuf, cause: io::Error },

    /// A file is not UTF-8 text.
    #[error("{} is no text: {problem}", path.display())]
    NotText { path: PathBuf, problem: NotText },

    /// A file has a syntax error.
    #[error("{} is malformed at {position}: {problem}", file.display())]
    Syntax {
        file: PathBuf,
        /// Line and, if known, column, both counted from 1.
        position: String,
        /// What was found and what is expected.
        problem: String,
    },

    /// An unknown key in the agent's own file or in the environment.
    #[error("{origin}: there is no key {key:?}; {advice}")]
    UnknownKey {
        /// The file and line, or the environment variable.
        origin: String,
        key: String,
        /// The key's section, or the most similar known key.
        advice: String,
    },

    /// A value of the wrong type, out of range, or in conflict with a different value.
    #[error("{origin}: {key} {problem}; {advice}")]
    Invalid {
        /// The file, environment variable or option.
        origin: String,
        key: &'static str,
        /// What is wrong with the value; never a secret value.
        problem: String,
        advice: String,
    },

    /// A required key that no layer sets.
    #[error("{key} is not set; {advice}")]
    Missing {
        key: &'static str,
        /// Where the key is usually set, or where it is set without effect.
        advice: String,
        /// Whether the key is set in a place that is not read.
        misplaced: bool,
    },

    /// Cannot happen: every key is a path that `config` understands.
    #[error("the configuration layers do not merge: {0}")]
    Layers(#[from] config::ConfigError),

    /// More than one mistake, each with its origin.
    #[error("{} mistakes in the configuration:{}", .0.len(), listed(.0))]
    Several(Vec<Mistake>),
}

impl Mistake {
    /// Whether a file could not be read completely, so that the keys in it are unknown.
    pub(crate) fn hides_keys(&self) -> bool {
        !matches!(self, Self::UnknownKey { .. } | Self::Invalid { .. } | Self::Missing { .. })
    }

    /// Whether only an instance-specific key is missing, which an image cannot contain.
    fn is_unconfigured(&self) -> bool {
        matches!(self, Self::Missing { key: "guest.id" | "broker.transport_url", misplaced: false, .. })
    }
}

fn listed(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
    lines.concat()
}
