//! Commands carried out: typed arguments in, one call to [`Couch`], the value that Trove's API expects out.
//!
//! Called by `dispatch`, which has seen to order and will retry what is transient. Knows nothing of RabbitMQ
//! or HTTP. The shapes of the answers are those that trove-api reads (trove/extensions/mysql/models.py).

mod access;
mod agent;
mod databases;
mod filesystem;
mod host;
mod root;
mod users;

use std::{path::PathBuf, sync::Arc};

use serde_json::Value;
use trove_couchdb_protocol::{Failure, trove::Command};

use crate::{
    couch::{CommandError, Couch},
    status::Report,
};

/// What the handlers work with.
#[derive(Debug)]
pub struct Handlers {
    couch: Arc<Couch>,
    /// Where CouchDB keeps its files.
    data_dir: PathBuf,
    /// What the agent knows of itself.
    report: Report,
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
    /// The command could not be carried out.
    Command(CommandError),
}

impl Handlers {
    /// Handlers for the CouchDB whose files stand in `data_dir`.
    pub fn new(couch: Arc<Couch>, data_dir: PathBuf, report: Report) -> Self {
        Self { couch, data_dir, report }
    }

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
            Command::GetAgentStatus => Ok(agent::status(couch, &self.report).await),
            Command::CheckDatabases => agent::check_databases(couch).await,
            Command::Unsupported(method) => return Err(HandlerError::Unsupported(method.name())),
        };
        result.map_err(HandlerError::Command)
    }
}

impl HandlerError {
    /// Whether the agent refused the command as it stands, before it asked anything of CouchDB.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Unsupported(_) => true,
            Self::Command(error) => error.is_refusal(),
        }
    }

    /// Whether the same command may succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Command(error) if error.is_transient())
    }

    /// Whether the command, or a part of it, may stand although it failed.
    pub fn may_have_taken_effect(&self) -> bool {
        matches!(self, Self::Command(error) if error.may_have_taken_effect())
    }

    /// Whether CouchDB is away, or not ready for the agent yet, rather than there and failing.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Command(error) if error.is_outage())
    }

    /// Whether the command stopped only because the agent does.
    pub fn is_stopping(&self) -> bool {
        matches!(self, Self::Command(CommandError::Stopping))
    }
}

impl From<HandlerError> for Failure {
    fn from(error: HandlerError) -> Self {
        match error {
            HandlerError::Unsupported(method) => {
                Self::new("NotSupported", format!("{method} is not supported by the CouchDB guest agent"))
            }
            HandlerError::Command(error) => Self::new(error.class(), error.to_string()),
        }
    }
}
