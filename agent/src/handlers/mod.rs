//! Commands carried out: typed arguments in, one call to [`Couch`], the value that Trove's API expects out.
//!
//! Called by `dispatch`, which has seen to order and will retry what is transient. Knows nothing of RabbitMQ
//! or HTTP. The shapes of the answers are those that trove-api reads (trove/extensions/mysql/models.py).

mod access;
mod agent;
mod databases;
mod filesystem;
mod host;
mod prepare;
mod root;
mod users;

use std::{path::PathBuf, sync::Arc};

use serde_json::Value;
use trove_couchdb_protocol::{Failure, FailureClass, trove::Command};

use crate::{
    bootstrap::{RotationError, Rotator},
    couch::{CommandError, Couch},
    log,
    preparation::Preparation,
    status::Report,
};
pub use prepare::{ImageBrings, PrepareError};

/// What the handlers work with.
#[derive(Debug)]
pub struct Handlers {
    /// The database.
    pub couch: Arc<Couch>,
    /// Where CouchDB keeps its files.
    pub data_dir: PathBuf,
    /// How far `prepare` is.
    pub preparation: Preparation,
    /// What `prepare` need not do.
    pub image_brings: ImageBrings,
    /// What the agent knows of itself.
    pub report: Report,
    /// Gives `os_admin` another password.
    pub rotator: Rotator,
    /// Changes what is logged.
    pub log: log::Control,
}

/// One run of a command.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The request's `_unique_id`, or one of our own if it had none.
    pub id: &'a str,
    /// An earlier run of the same command may have done a part of it, or all.
    pub again: bool,
}

/// Why a handler has no value to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerError {
    /// Trove has the method, this agent doesn't.
    Unsupported(&'static str),
    /// `stop_db`: nothing is stopped.
    DatabaseKeepsRunning,
    /// The guest could not be prepared.
    Prepare(PrepareError),
    /// `os_admin` keeps its password.
    Rotation(RotationError),
    /// The command could not be carried out.
    Command(CommandError),
}

impl Handlers {
    /// Carries out one command.
    pub async fn run(&self, command: &Command, run: Run<'_>) -> Result<Value, HandlerError> {
        let couch = &*self.couch;
        host::note(command);
        let result = match command {
            Command::Ping => Ok(Value::Bool(true)),
            Command::CreateUser { users } => users::create(couch, users, run).await,
            Command::DeleteUser { user, .. } => users::delete(couch, user, run).await,
            Command::GetUser { user, .. } => users::get(couch, user).await,
            Command::ListUsers(page) => users::list(couch, page).await,
            Command::ChangePasswords { users } => users::change_passwords(couch, users).await,
            Command::UpdateAttributes { user, rename, password, .. } => {
                users::update_attributes(couch, user, rename.as_ref(), password.as_ref(), run).await
            }
            Command::GrantAccess { user, databases, .. } => access::grant(couch, user, databases).await,
            Command::RevokeAccess { user, database, .. } => access::revoke(couch, user, database).await,
            Command::ListAccess { user, .. } => access::list(couch, user).await,
            Command::CreateDatabase { databases } => databases::create(couch, databases, run).await,
            Command::DeleteDatabase { database } => databases::delete(couch, database, run).await,
            Command::ListDatabases(page) => databases::list(couch, page).await,
            Command::EnableRoot => root::enable(couch, None, run).await,
            Command::EnableRootWithPassword { password } => root::enable(couch, password.as_ref(), run).await,
            Command::DisableRoot => root::disable(couch).await,
            Command::IsRootEnabled => root::is_enabled(couch).await,
            Command::GetFilesystemStats { .. } => filesystem::stats(&self.data_dir).await,
            Command::Prepare(prepare) => {
                return prepare::run(self, prepare, run).await.map_err(HandlerError::Prepare);
            }
            Command::MalformedPrepare(error) => {
                return Err(HandlerError::Prepare(PrepareError::malformed(error.clone())));
            }
            Command::StopDb => return Err(HandlerError::DatabaseKeepsRunning),
            Command::GetAgentStatus => Ok(agent::status(couch, &self.report).await),
            Command::CheckDatabases => agent::check_databases(couch).await,
            Command::RotateOsAdmin => {
                return agent::rotate_os_admin(&self.rotator).await.map_err(HandlerError::Rotation);
            }
            Command::SetLogFilter { filter } => Ok(agent::set_log_filter(&self.log, filter.as_ref())),
            Command::Unsupported(method) => return Err(HandlerError::Unsupported(method.name())),
        };
        result.map_err(HandlerError::Command)
    }

    /// A command has failed for good, whatever the reason: a guest that could not be prepared says so to Trove, which
    /// would wait for it until its own time limit.
    pub async fn gave_up(&self, command: &Command, id: &str, reason: &str) {
        if matches!(command, Command::Prepare(_) | Command::MalformedPrepare(_)) {
            self.preparation.fail(id, reason).await;
        }
    }
}

impl HandlerError {
    /// Whether the agent refused the command as it stands, before it asked anything of CouchDB.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Unsupported(_) | Self::DatabaseKeepsRunning => true,
            Self::Prepare(error) => error.is_refusal(),
            Self::Rotation(_) => false,
            Self::Command(error) => error.is_refusal(),
        }
    }

    /// Whether the same command may succeed a little later.
    pub fn is_transient(&self) -> bool {
        self.command().is_some_and(CommandError::is_transient)
    }

    /// Whether the command, or a part of it, may stand although it failed.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Prepare(error) => error.may_have_taken_effect(),
            _ => self.command().is_some_and(CommandError::may_have_taken_effect),
        }
    }

    /// Whether CouchDB is away, or not ready for the agent yet, rather than there and failing.
    pub fn is_outage(&self) -> bool {
        self.command().is_some_and(CommandError::is_outage)
    }

    /// Whether the command stopped only because the agent does.
    pub fn is_stopping(&self) -> bool {
        matches!(self.command(), Some(CommandError::Stopping))
    }

    fn command(&self) -> Option<&CommandError> {
        match self {
            Self::Command(error) => Some(error),
            Self::Prepare(error) => error.command(),
            Self::Unsupported(_) | Self::DatabaseKeepsRunning | Self::Rotation(_) => None,
        }
    }
}

impl From<HandlerError> for Failure {
    fn from(error: HandlerError) -> Self {
        match error {
            HandlerError::Unsupported(method) => Self::new(
                FailureClass::NotSupported,
                format!("{method} is not supported by the CouchDB guest agent"),
            ),
            HandlerError::DatabaseKeepsRunning => Self::new(
                FailureClass::NotSupported,
                "stop_db is not carried out: CouchDB runs under systemd and stops with the instance; Trove deletes and \
                 reboots without it",
            ),
            HandlerError::Prepare(error) => Self::new(FailureClass::PrepareFailed, error.to_string()),
            HandlerError::Rotation(error) => Self::new(FailureClass::RotationFailed, error.to_string()),
            HandlerError::Command(error) => Self::new(error.class(), error.to_string()),
        }
    }
}
