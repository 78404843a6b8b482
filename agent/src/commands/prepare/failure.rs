//! Why a guest could not be prepared.

use std::fmt;

use trove_couchdb_protocol::DecodeError;

use super::demands::Demand;
use crate::{
    commands::ConfigurationError,
    couch::{CommandError, Couch},
};

/// Why a guest could not be prepared: the step and the problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("prepare failed at stage \"{step}\": {problem}")]
pub struct PrepareError {
    pub(super) step: PrepareStep,
    pub(super) problem: Problem,
}

/// The steps in order. The user reads their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PrepareStep {
    Check,
    Format,
    Move,
    Mount,
    Secure,
    Configuration,
    Databases,
    Users,
    Root,
    Record,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    #[error("{}", unmet(.0))]
    Demands(Vec<Demand>),
    #[error("{0}; check guest.state_dir")]
    NotWritten(String),
    #[error("{0}")]
    Transition(String),
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(
        "CouchDB was stopped on purpose; run `trove-couchdb service-start` on the instance, then prepare it again, or \
         create a new instance ({0})"
    )]
    Stopped(CommandError),
    #[error(transparent)]
    Step(#[from] StepFailure),
}

/// The failure of the helper, or of a command that is a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(in crate::commands) struct StepFailure {
    /// The failure as its own command would report it.
    pub(super) message: String,
    /// Whether the step may succeed a little later.
    pub(in crate::commands) is_transient: bool,
    /// Whether CouchDB or the helper is unreachable.
    pub(in crate::commands) is_outage: bool,
}

impl PrepareError {
    pub(super) fn at<P: Into<Problem>>(step: PrepareStep) -> impl FnOnce(P) -> Self {
        move |problem| Self { step, problem: problem.into() }
    }

    /// The error of CouchDB, if it caused the failure.
    pub(in crate::commands) fn command(&self) -> Option<&CommandError> {
        match &self.problem {
            Problem::Command(error) => Some(error),
            Problem::Configuration(error) => error.command(),
            _ => None,
        }
    }

    /// The failure of the helper, or of a command, if it was the problem.
    pub(in crate::commands) fn step_failure(&self) -> Option<&StepFailure> {
        match &self.problem {
            Problem::Step(failure) => Some(failure),
            _ => None,
        }
    }

    /// Adds what can be found out about the cause in CouchDB.
    pub(in crate::commands) async fn explained_by(self, couch: &Couch) -> Self {
        match self.problem {
            Problem::Command(error) => {
                Self { step: self.step, problem: Problem::Command(couch.explain(error).await) }
            }
            Problem::Configuration(ConfigurationError::Command(error)) => {
                let error = couch.explain(error).await.into();
                Self { step: self.step, problem: Problem::Configuration(error) }
            }
            problem => Self { step: self.step, problem },
        }
    }

    /// The failure while CouchDB is stopped on purpose. Unlike an outage it is not worth a retry.
    pub(in crate::commands) fn stopped_on_purpose(self) -> Self {
        match self.problem {
            Problem::Command(error) => Self { step: self.step, problem: Problem::Stopped(error) },
            problem => Self { step: self.step, problem },
        }
    }

    /// Whether the agent failed before it sent any request to CouchDB.
    pub(in crate::commands) fn is_refusal(&self) -> bool {
        self.step == PrepareStep::Check
    }

    /// Whether a part of the command may have taken effect.
    pub(in crate::commands) fn may_have_taken_effect(&self) -> bool {
        !matches!(self.step, PrepareStep::Check | PrepareStep::Secure)
    }
}

fn unmet(demands: &[Demand]) -> String {
    let each = demands.iter().map(|demand| {
        let advice = match demand {
            Demand::Packages(_) => "use an image that has them, and set prepare.ignore_packages",
            Demand::Volume(_) => {
                "let trove-couchdb-hostd make it ([volume] of host.toml), or use an image that mounts it"
            }
            _ => "create the instance without",
        };
        format!("{demand} can't be provided by this agent: {advice}")
    });
    each.collect::<Vec<_>>().join("; ")
}

impl PrepareStep {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Format => "format",
            Self::Move => "move",
            Self::Mount => "mount",
            Self::Secure => "secure",
            Self::Configuration => "configuration",
            Self::Databases => "databases",
            Self::Users => "users",
            Self::Root => "root",
            Self::Record => "record",
        }
    }
}

impl fmt::Display for PrepareStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demand_that_is_not_met_says_what_to_do() {
        let demands = vec![Demand::Volume("/dev/vdb".into()), Demand::Backup];
        let error = PrepareError { step: PrepareStep::Check, problem: Problem::Demands(demands) };
        assert_eq!(
            error.to_string(),
            "prepare failed at stage \"check\": the data volume \"/dev/vdb\" can't be provided by this agent: let \
             trove-couchdb-hostd make it ([volume] of host.toml), or use an image that mounts it; a backup to restore can't be provided by this agent: create \
             the instance without"
        );
        assert!(error.command().is_none() && !error.may_have_taken_effect());
    }
}
