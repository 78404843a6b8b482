//! The interface of a command, and the guest that commands work on.

use std::{fmt, ops::Deref, sync::Arc};

use futures_util::{FutureExt, future, future::BoxFuture};
use serde_json::Value;
use tracing::warn;
use trove_couchdb_guest::redact::Redactor;
use trove_couchdb_protocol::{
    DecodeError, Fields, HostPattern, UserName,
    trove::{Method, UserAction},
};

use super::{Configuration, ImageBrings, RunError, Scopes, Seed};
use crate::{
    bootstrap::Rotator,
    couch::Couch,
    guest::{Lifecycle, Server},
    host::Host,
    log,
    operations::{Operation, Operations, Progress},
    status::AgentStatus,
};

/// The outcome of one run.
pub type Running<'a> = BoxFuture<'a, Result<Value, RunError>>;

/// One command, decoded and ready to run.
pub trait Command: fmt::Debug + Send + Sync {
    /// Its method.
    fn method(&self) -> Method;

    /// What it reads and writes: commands on the same user or database run in order of arrival.
    fn scopes(&self) -> Scopes {
        Scopes::default()
    }

    /// What it needs to run.
    fn needs(&self) -> Needs {
        Needs::CouchDb
    }

    /// Whether it takes seconds or may take hours.
    fn duration(&self) -> Duration {
        Duration::Short
    }

    /// Describes a long command to operators who list operations. It holds no secret.
    fn about(&self) -> Value {
        Value::Null
    }

    /// Runs the command. A run that was interrupted at any point may be repeated and reaches the same state.
    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a>;

    /// The hosts that it names. Trove can restrict a user to a host, CouchDB cannot.
    fn hosts(&self) -> Vec<&HostPattern> {
        Vec::new()
    }

    /// Whether its result holds a generated password.
    fn generates_a_password(&self) -> bool {
        false
    }

    /// The result of an earlier successful run, without running again; `None` if it is unknown.
    fn result_again(&self, _seed: Option<&Seed>) -> Option<Value> {
        None
    }

    /// Whether only operators of the machine may send it, over the local socket.
    fn is_local_only(&self) -> bool {
        false
    }

    /// Whether the agent's status counts it.
    fn is_counted(&self) -> bool {
        true
    }

    /// Called when the command has failed for good.
    fn on_failure<'a>(&'a self, _guest: &'a Guest, _id: &'a str, _reason: &'a str) -> BoxFuture<'a, ()> {
        future::ready(()).boxed()
    }
}

impl dyn Command + '_ {
    /// The method's name on the wire. The set of names is fixed, so it is suitable as a metric label.
    pub fn name(&self) -> &'static str {
        self.method().name()
    }
}

/// What a command needs to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing but the agent: it is answered even while CouchDB hangs.
    Nothing,
    /// CouchDB. The number of commands that use it at the same time is limited.
    CouchDb,
    /// `trove-couchdb-hostd`, the privileged helper.
    Hostd,
}

/// How long a command may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duration {
    /// Seconds. Its message is acknowledged when it has finished.
    Short,
    /// It may outlast the broker's acknowledgement timeout, or the agent, so it runs as an operation.
    Long,
}

/// The guest that commands work on.
#[derive(Debug)]
pub struct Guest {
    /// CouchDB.
    pub couch: Arc<Couch>,
    /// The guest's state.
    pub lifecycle: Lifecycle,
    /// The options of CouchDB that were set.
    pub options: Configuration,
    /// What `prepare` can skip.
    pub image_brings: ImageBrings,
    /// The agent's own state.
    pub agent_status: AgentStatus,
    /// Changes `os_admin`'s password.
    pub rotator: Rotator,
    /// Changes the log filter.
    pub log: log::Control,
    /// The privileged helper.
    pub host: Host,
    /// Knows the secrets of the configuration, which no answer may show.
    pub redactor: Redactor,
    /// Long commands.
    pub operations: Operations,
}

impl Guest {
    /// Runs one command. An error explains its cause as far as that can be found out.
    pub async fn run(&self, command: &dyn Command, run: Run<'_>) -> Result<Value, RunError> {
        if command.hosts().iter().any(|host| !host.is_any()) {
            warn!("CouchDB can't restrict a user to a host; the host of the command is ignored.");
        }
        if command.needs() == Needs::Hostd
            && let Some(absence) = self.host.absence()
        {
            return Err(RunError::Host(absence));
        }
        match command.run(self, run).await {
            // Run the command first, because CouchDB may have been started meanwhile.
            Err(error)
                if error.is_outage() && matches!(self.lifecycle.last_known().server, Server::Stopped(_)) =>
            {
                Err(error.stopped_on_purpose())
            }
            Err(error) => Err(error.explained_by(&self.couch).await),
            result => result,
        }
    }
}

/// One run of a command.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The request's `_unique_id`, or a generated id if it had none.
    pub id: &'a str,
    /// Whether an earlier run of the same command may have done a part or all of it.
    pub again: bool,
    /// The source of a secret in its answer; the same in every run.
    pub seed: &'a Seed,
    /// The operation of a long command.
    pub operation: Option<&'a Operation>,
}

impl Run<'_> {
    /// Records that a step of a long command begins.
    pub(super) async fn enter(&self, step: &'static str) {
        if let Some(operation) = self.operation {
            operation.enter(step).await;
        }
    }

    /// Records the progress of the step.
    pub(super) async fn progress(&self, progress: Progress) {
        if let Some(operation) = self.operation {
            operation.progress(progress).await;
        }
    }
}

/// The arguments of a request, and the user's action that it is part of.
#[derive(Debug)]
pub struct Arguments<'a> {
    fields: Fields<'a>,
    pub(super) action: UserAction,
}

impl<'a> Arguments<'a> {
    /// The arguments of a request.
    pub fn new(fields: Fields<'a>, action: UserAction) -> Self {
        Self { fields, action }
    }

    /// The two arguments by which most methods name a user.
    pub(super) fn user_and_host(&self) -> Result<(UserName, HostPattern), DecodeError> {
        Ok((self.required("username")?.user_name()?, self.host("hostname")?))
    }
}

impl<'a> Deref for Arguments<'a> {
    type Target = Fields<'a>;

    fn deref(&self) -> &Fields<'a> {
        &self.fields
    }
}

/// Reads a command's arguments and validates their types. Additional arguments from Trove are ignored, and
/// arguments that Trove may omit are optional.
pub(super) trait Decode: Command + Sized + 'static {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError>;
}

pub(super) type Decoded = Result<Box<dyn Command>, DecodeError>;

/// A method that the agent serves, and the decoder of its arguments.
pub(super) struct CommandEntry {
    pub(super) method: Method,
    pub(super) decode: fn(&Arguments<'_>) -> Decoded,
}

pub(super) const fn entry<C: Decode>(method: Method) -> CommandEntry {
    CommandEntry {
        method,
        decode: |args| C::decode(args).map(|command| Box::new(command) as Box<dyn Command>),
    }
}
