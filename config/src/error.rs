//! Why a configuration was refused, in words an operator can act on.
//!
//! Every message names the place (file, environment variable, option), the key, what was wrong and what to
//! write instead. The text of a secret, or of a line that may hold one, never gets in: messages are printed to
//! the journal. `main` prints the message and exits with status 64 (`EX_USAGE`).

use std::io;
use std::path::PathBuf;

use trove_couchdb_protocol::text::NotText;

/// A configuration the agent refuses to start with.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ConfigError(Mistake);

impl ConfigError {
    /// Whether nothing is wrong but that nobody has configured the agent yet: Trove has not written its files, and no
    /// operator has named an instance, a broker or `local:`.
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

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Mistake {
    /// A file or directory that should be read cannot be.
    #[error(
        "cannot read {}: {cause}; correct the path, or let the agent's user read it",
        path.display()
    )]
    Unreadable { path: PathBuf, cause: io::Error },

    /// A file in another encoding.
    #[error("{} is no text: {problem}", path.display())]
    NotText { path: PathBuf, problem: NotText },

    /// A file does not follow its format's syntax.
    #[error("{} is malformed at {place}: {problem}", file.display())]
    Syntax {
        file: PathBuf,
        /// Line, and column where known, both counted from 1.
        place: String,
        /// What was found and what belongs there.
        problem: String,
    },

    /// A key of our own file or environment that the agent does not know.
    #[error("{origin}: there is no key {key:?}; {advice}")]
    UnknownKey {
        /// The file and line, or the environment variable, that holds it.
        origin: String,
        key: String,
        /// The section that it belongs in, or the known key that looks most like it.
        advice: String,
    },

    /// A value of the wrong type, out of range, or at odds with another.
    #[error("{origin}: {key} {problem}; {advice}")]
    Invalid {
        /// The file, environment variable or option that holds it.
        origin: String,
        key: &'static str,
        /// What is wrong with the value; never the value of a secret.
        problem: String,
        advice: String,
    },

    /// A key without a default that no layer sets.
    #[error("{key} is not set; {advice}")]
    Missing {
        key: &'static str,
        /// Where it usually comes from, or where it stands in vain.
        advice: String,
        /// Somebody set it where it is not read.
        misplaced: bool,
    },

    /// It cannot happen: every key is a path that `config` understands.
    #[error("the configuration layers do not merge: {0}")]
    Layers(#[from] config::ConfigError),

    /// More than one mistake, each with its own place.
    #[error("{} mistakes in the configuration:{}", .0.len(), listed(.0))]
    Several(Vec<Mistake>),
}

impl Mistake {
    /// Whether a file could not be read to its end, so that nothing is known of the keys it sets.
    pub(crate) fn hides_keys(&self) -> bool {
        !matches!(self, Self::UnknownKey { .. } | Self::Invalid { .. } | Self::Missing { .. })
    }

    /// Whether it is only what an image can't know.
    fn is_unconfigured(&self) -> bool {
        matches!(self, Self::Missing { key: "guest.id" | "broker.transport_url", misplaced: false, .. })
    }
}

fn listed(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
    lines.concat()
}
