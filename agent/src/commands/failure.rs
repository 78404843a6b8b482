//! Why a command failed, and how the failure is reported to Trove.

use trove_couchdb_protocol::{Failure, FailureClass, OperationId, host::HostError, trove::Method};

use super::{
    configuration::ConfigurationError,
    prepare::{PrepareError, StepFailure},
};
use crate::{
    bootstrap::RotationError,
    couch::{CommandError, Couch, CouchError},
    host::HostFailure,
};

pub use crate::couch::Progress;

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunError {
    /// Trove has the method, but this agent does not serve it.
    Unsupported(Method),
    /// The guest could not be prepared.
    Prepare(PrepareError),
    /// `os_admin`'s password was not rotated.
    Rotation(RotationError),
    /// CouchDB is unreachable because it was stopped on purpose.
    Stopped(CommandError),
    /// CouchDB is being stopped or started.
    Changing(String),
    /// The privileged helper is missing, refused, or failed.
    Host(HostFailure),
    /// CouchDB did not come back after a start or a restart.
    NotBack(NotBack),
    /// The operation does not exist or has ended.
    Operation(OperationError),
    /// CouchDB's configuration was not changed.
    Configuration(ConfigurationError),
    /// The command could not be completed.
    Command(CommandError),
}

/// CouchDB was started and does not answer, or its process ended again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("CouchDB is down: {reason}. {log}")]
pub struct NotBack {
    /// What the helper, or the last request to CouchDB, says.
    pub reason: String,
    /// The end of CouchDB's log, without secrets, or why it can't be read.
    pub log: String,
}

/// Why a request about an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// No operation has this id.
    #[error("there is no operation {0}; operation-list has those that are known")]
    Unknown(OperationId),
    /// It has ended and cannot be cancelled any more.
    #[error("operation {0} is over; see operation-show {0}")]
    Over(OperationId),
    /// The cancellation could not be stored, so it may be lost when the agent restarts.
    #[error(
        "operation {id} is being cancelled, but that can't be written to the agent's state directory ({problem}): if the \
         agent is restarted before it has ended, cancel it again"
    )]
    NotWritten {
        /// The operation.
        id: OperationId,
        /// The operating system's error.
        problem: String,
    },
}

impl RunError {
    /// Adds what can be found out about the cause in CouchDB.
    pub(super) async fn explained_by(self, couch: &Couch) -> Self {
        match self {
            Self::Command(error) => Self::Command(couch.explain(error).await),
            Self::Prepare(error) => Self::Prepare(error.explained_by(couch).await),
            Self::Configuration(ConfigurationError::Command(error)) => {
                Self::Configuration(couch.explain(error).await.into())
            }
            other => other,
        }
    }

    /// The failure of a command while CouchDB is stopped on purpose: retrying is pointless.
    pub(super) fn stopped_on_purpose(self) -> Self {
        match self {
            Self::Command(error) => Self::Stopped(error),
            Self::Prepare(error) => Self::Prepare(error.stopped_on_purpose()),
            other => other,
        }
    }

    /// Whether the agent refused the command before it sent any request to CouchDB.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Unsupported(_) | Self::Changing(_) => true,
            Self::Prepare(error) => error.is_refusal(),
            Self::Rotation(_) | Self::NotBack(_) => false,
            Self::Configuration(error) => error.is_refusal(),
            Self::Operation(error) => !matches!(error, OperationError::NotWritten { .. }),
            Self::Host(failure) => failure.is_refusal(),
            Self::Command(error) | Self::Stopped(error) => error.is_refusal(),
        }
    }

    /// What made a step of `prepare` fail.
    fn step_failure(&self) -> Option<&StepFailure> {
        match self {
            Self::Prepare(error) => error.step_failure(),
            _ => None,
        }
    }

    /// Whether the same command may succeed a little later.
    pub fn is_transient(&self) -> bool {
        if let Some(failure) = self.step_failure() {
            return failure.is_transient;
        }
        match self {
            Self::Host(failure) => failure.is_transient(),
            Self::Configuration(error) => error.is_transient(),
            Self::Stopped(_) => false,
            _ => self.command().is_some_and(CommandError::is_transient),
        }
    }

    /// Whether the command, or a part of it, may have taken effect although it failed.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Prepare(error) => error.may_have_taken_effect(),
            Self::Host(failure) => failure.may_have_taken_effect(),
            Self::NotBack(_) => true,
            _ => self.command().is_some_and(CommandError::may_have_taken_effect),
        }
    }

    /// Whether CouchDB or the helper is unreachable or not ready yet, as opposed to answering with an error.
    pub fn is_outage(&self) -> bool {
        if let Some(failure) = self.step_failure() {
            return failure.is_outage;
        }
        match self {
            Self::Host(failure) => failure.is_outage(),
            Self::Stopped(_) => false,
            _ => self.command().is_some_and(CommandError::is_outage),
        }
    }

    /// Which part of the command is done, if known.
    pub fn progress(&self) -> Option<&Progress> {
        self.command().and_then(CommandError::progress)
    }

    /// Adds the progress of earlier runs, if the failure has none of its own.
    #[must_use]
    pub fn after(self, progress: Option<Progress>) -> Self {
        match (self, progress) {
            (Self::Command(error), Some(progress)) => Self::Command(error.half_done(progress)),
            (Self::Stopped(error), Some(progress)) => Self::Stopped(error.half_done(progress)),
            (other, _) => other,
        }
    }

    /// The failure of a command that stops only because the agent stops.
    pub fn stopping() -> Self {
        Self::Command(CommandError::Stopping)
    }

    /// Whether the command stopped only because the agent stops.
    pub fn is_stopping(&self) -> bool {
        matches!(self.command(), Some(CommandError::Stopping))
    }

    fn command(&self) -> Option<&CommandError> {
        match self {
            Self::Command(error) | Self::Stopped(error) => Some(error),
            Self::Prepare(error) => error.command(),
            Self::Configuration(error) => error.command(),
            Self::Unsupported(_)
            | Self::Rotation(_)
            | Self::Host(_)
            | Self::NotBack(_)
            | Self::Operation(_)
            | Self::Changing(_) => None,
        }
    }
}

impl From<CommandError> for RunError {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

impl From<OperationError> for RunError {
    fn from(error: OperationError) -> Self {
        Self::Operation(error)
    }
}

impl From<CouchError> for RunError {
    fn from(error: CouchError) -> Self {
        Self::Command(error.into())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Unsupported(method) => Self::new(FailureClass::NotSupported, refusal(method)),
            RunError::Prepare(error) => Self::new(FailureClass::PrepareFailed, error.to_string()),
            RunError::Rotation(error) => Self::new(FailureClass::RotationFailed, error.to_string()),
            RunError::Operation(error @ OperationError::NotWritten { .. }) => {
                Self::new(FailureClass::FilesystemError, error.to_string())
            }
            RunError::Operation(error) => Self::new(FailureClass::OperationNotFound, error.to_string()),
            RunError::Stopped(error) => {
                let advice =
                    "an operator starts it with `trove-couchdb service-start`, then give the command again";
                Self::new(class_of(&error), format!("CouchDB was stopped on purpose: {advice}; {error}"))
            }
            RunError::NotBack(error) => Self::new(FailureClass::HostdFailed, error.to_string()),
            RunError::Changing(error) => Self::new(FailureClass::Busy, error),
            RunError::Configuration(error) => Self::new(class_of_configuration(&error), error.to_string()),
            RunError::Host(failure) => Self::new(class_of_host(&failure), failure.to_string()),
            RunError::Command(error) => Self::new(class_of(&error), error.to_string()),
        }
    }
}

/// Why a method is refused, and what the user can do. Trove shows 255 characters.
fn refusal(method: Method) -> String {
    let advice = match method {
        Method::CreateBackup | Method::PreCreateBackup => {
            "no backup was made; replicate the databases to another CouchDB instead"
        }
        Method::PreUpgrade => {
            "CouchDB was not upgraded and goes on as before; reset the instance's status, and create a new instance of the \
             new version instead"
        }
        Method::Rebuild => {
            "nothing was restored; if the server's disk was replaced, what was on it is gone: look before you use the \
             instance"
        }
        Method::ResizeFs => "the file system has its old size; grow it on the instance",
        Method::Restart => "nothing was done; reboot the instance, or restart couchdb.service on it",
        Method::StartDbWithConfChanges => "it applies no configuration; remove what is in config.template",
        Method::StopDb => "CouchDB was not stopped; systemd stops it when the server goes down",
        _ => return format!("{} is not supported by the CouchDB guest agent", method.name()),
    };
    format!("{} is not supported by the CouchDB guest agent: {advice}", method.name())
}

/// The failure class for an error of the helper.
fn class_of_host(failure: &HostFailure) -> FailureClass {
    match failure {
        HostFailure::Off | HostFailure::NotInstalled { .. } => FailureClass::NotSupported,
        HostFailure::Refused(HostError::NotAllowed { .. }) => FailureClass::Forbidden,
        HostFailure::Refused(HostError::Busy { .. } | HostError::Overloaded { .. }) => FailureClass::Busy,
        _ => FailureClass::HostdFailed,
    }
}

/// The failure class for a change of the configuration.
fn class_of_configuration(error: &ConfigurationError) -> FailureClass {
    match error {
        ConfigurationError::Command(error) => class_of(error),
        ConfigurationError::Record(_) => FailureClass::FilesystemError,
        ConfigurationError::NodesMissing(_) | ConfigurationError::State(_) => FailureClass::CouchDbError,
        ConfigurationError::Refused(_)
        | ConfigurationError::AgentRequiresLogins
        | ConfigurationError::NotSet { .. } => FailureClass::ConfigurationRefused,
    }
}

/// The failure class for a failed command.
fn class_of(error: &CommandError) -> FailureClass {
    match error {
        CommandError::ReservedUser(_) | CommandError::ReservedDatabase(_) | CommandError::AdminName(_) => {
            FailureClass::ReservedName
        }
        CommandError::NoSuchUser(_) => FailureClass::UserNotFound,
        CommandError::NoSuchDatabase(_) => FailureClass::DatabaseNotFound,
        CommandError::UserExists(_) | CommandError::HalfMade { .. } | CommandError::HalfRenamed { .. } => {
            FailureClass::UserAlreadyExists
        }
        CommandError::UserTwice(_) | CommandError::PasswordMissing(_) | CommandError::RootPasswordEmpty => {
            FailureClass::BadRequest
        }
        CommandError::LastAdmin => FailureClass::LastAdmin,
        CommandError::Security { .. } => FailureClass::MalformedSecurity,
        CommandError::UserRejected { .. }
        | CommandError::RootPasswordRejected(_)
        | CommandError::LoginRefused { .. }
        | CommandError::UserConflicts { .. }
        | CommandError::HasAttachments(_)
        | CommandError::HasOwnDatabase(_) => FailureClass::UserRejected,
        CommandError::Overwritten(_) => FailureClass::Overwritten,
        CommandError::Stopping => FailureClass::Stopping,
        CommandError::Filesystem { .. } | CommandError::Unrecorded(_) => FailureClass::FilesystemError,
        CommandError::Couch(_)
        | CommandError::DiskFull { .. }
        | CommandError::NoMajority { .. }
        | CommandError::LeftBehind { .. }
        | CommandError::UsersElsewhere { .. } => FailureClass::CouchDbError,
        CommandError::Unfinished(error) => class_of(error),
        CommandError::HalfDone { cause, .. } => class_of(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_halfway_has_the_class_of_its_cause() {
        let error = CommandError::from(CouchError::Exists);
        assert_eq!(class_of(&CommandError::Unfinished(Box::new(error))), FailureClass::CouchDbError);
        let last = CommandError::Unfinished(Box::new(CommandError::LastAdmin));
        assert_eq!(class_of(&last), FailureClass::LastAdmin);
    }

    /// Trove's limit for the message of a fault (`trove/instance/models.py`, `save_instance_fault`).
    const SHOWN: usize = 255;

    #[test]
    fn a_refusal_is_shown_whole_and_reports_the_outcome() {
        for method in Method::ALL {
            let text = refusal(*method);
            assert!(text.len() <= SHOWN && text.starts_with(method.name()), "{text}");
        }
    }
}
