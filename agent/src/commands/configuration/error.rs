//! Why the configuration was not changed.

use crate::couch::{CommandError, CouchError, configuration::error::OptionError};

/// Why the configuration was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// An option is refused. Nothing was changed.
    #[error(transparent)]
    Refused(#[from] OptionError),
    /// The agent's own setting demands the opposite. Nothing was changed.
    #[error("chttpd.require_valid_user can't be false, as couchdb.require_valid_user of the agent is true")]
    AgentRequiresLogins,
    /// The option can't be unset, because an operator did not set it. Nothing was changed.
    #[error("{option} is not set by an operator{}", but_by(*.by))]
    NotSet {
        /// The option.
        option: &'static str,
        /// Who else set it.
        by: Option<&'static str>,
    },
    /// The configuration would not be the same on all nodes. Nothing was changed.
    #[error("these nodes of the cluster are not connected: {}; nothing was changed", .0.join(", "))]
    NodesMissing(Vec<String>),
    /// What stood before can't be read or written. Nothing was changed.
    #[error(
        "the agent can't keep in its state directory what the configuration was before: {0}; check guest.state_dir"
    )]
    Record(String),
    /// The guest's state can't be changed.
    #[error("{0}")]
    State(String),
    /// CouchDB failed.
    #[error(transparent)]
    Command(#[from] CommandError),
}

fn but_by(other: Option<&'static str>) -> String {
    other.map(|other| format!(", but by {other}")).unwrap_or_default()
}

impl From<CouchError> for ConfigurationError {
    fn from(error: CouchError) -> Self {
        Self::Command(error.into())
    }
}

impl ConfigurationError {
    /// The error of CouchDB, if there is one.
    pub(in crate::commands) fn command(&self) -> Option<&CommandError> {
        match self {
            Self::Command(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the change was refused and nothing was changed.
    pub(in crate::commands) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::AgentRequiresLogins | Self::NotSet { .. })
    }

    /// Whether the same change may succeed a little later.
    pub(in crate::commands) fn is_transient(&self) -> bool {
        match self {
            Self::NodesMissing(_) => true,
            Self::Command(error) => error.is_transient(),
            _ => false,
        }
    }
}
