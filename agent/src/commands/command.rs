//! What a command is, and the guest that it works on.

use std::{fmt, ops::Deref, sync::Arc};

use futures_util::{FutureExt, future, future::BoxFuture};
use serde_json::Value;
use tracing::warn;
use trove_couchdb_protocol::{
    DecodeError, Fields, HostPattern, UserName,
    trove::{Method, UserAction},
};

use super::{ImageBrings, RunError, Scopes, Seed};
use crate::{
    bootstrap::Rotator,
    couch::Couch,
    guest::{Lifecycle, Server},
    host::Host,
    log,
    operations::{Operation, Operations, Progress},
    status::AgentStatus,
};

/// What becomes of one run.
pub type Running<'a> = BoxFuture<'a, Result<Value, RunError>>;

/// One command, decoded and ready to run.
pub trait Command: fmt::Debug + Send + Sync {
    /// The method that asks for it.
    fn method(&self) -> Method;

    /// What it reads and writes: commands on the same thing keep their order of arrival.
    fn scopes(&self) -> Scopes {
        Scopes::default()
    }

    /// What must be there for it to run.
    fn needs(&self) -> Needs {
        Needs::CouchDb
    }

    /// Whether it takes seconds or may take hours.
    fn duration(&self) -> Duration {
        Duration::Short
    }

    /// What a long one is about, for who asks what is under way. No secret is in it.
    fn about(&self) -> Value {
        Value::Null
    }

    /// Carries it out. It may be run again after it was cut short at any point, and then ends in the same state.
    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a>;

    /// The hosts that it names. Trove can restrict a user to a host, CouchDB can't.
    fn hosts(&self) -> Vec<&HostPattern> {
        Vec::new()
    }

    /// Whether its result holds a password that is generated for it.
    fn generates_a_password(&self) -> bool {
        false
    }

    /// Its result, if it succeeded before and its result is not kept, without another run; `None` if it can't be known.
    fn result_again(&self, _seed: Option<&Seed>) -> Option<Value> {
        None
    }

    /// Whether only operators of the machine may send it, over the local socket.
    fn is_local_only(&self) -> bool {
        false
    }

    /// Whether it is among the commands that the agent's status counts.
    fn is_counted(&self) -> bool {
        true
    }

    /// It has failed for good, for this reason.
    fn on_failure<'a>(&'a self, _guest: &'a Guest, _id: &'a str, _reason: &'a str) -> BoxFuture<'a, ()> {
        future::ready(()).boxed()
    }
}

impl dyn Command + '_ {
    /// The method's name on the wire: from a fixed set, fit for a metric's label.
    pub fn name(&self) -> &'static str {
        self.method().name()
    }
}

/// What must be there for a command to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing but the agent: it answers while CouchDB hangs.
    Nothing,
    /// CouchDB, to which only so many commands talk at a time.
    CouchDb,
    /// `trove-couchdb-hostd`, the helper with root's rights.
    Hostd,
}

/// How long a command may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duration {
    /// Seconds: its message waits for its end.
    Short,
    /// It may outlast the broker's patience, or the agent: it becomes an operation.
    Long,
}

/// The guest that commands work on.
#[derive(Debug)]
pub struct Guest {
    /// The database.
    pub couch: Arc<Couch>,
    /// The guest's state.
    pub lifecycle: Lifecycle,
    /// What `prepare` need not do.
    pub image_brings: ImageBrings,
    /// What the agent knows of itself.
    pub agent_status: AgentStatus,
    /// Gives `os_admin` another password.
    pub rotator: Rotator,
    /// Changes what is logged.
    pub log: log::Control,
    /// What needs root.
    pub host: Host,
    /// Commands that take hours.
    pub operations: Operations,
}

impl Guest {
    /// Carries out one command; what fails says why, as far as that can be found out.
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
            // Asked for real, as somebody may just have started it.
            Err(RunError::Command(error))
                if error.is_outage() && matches!(self.lifecycle.last_known().server, Server::Stopped(_)) =>
            {
                Err(RunError::Stopped(error))
            }
            Err(error) => Err(error.explained_by(&self.couch).await),
            result => result,
        }
    }
}

/// One run of a command.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The request's `_unique_id`, or one of our own if it had none.
    pub id: &'a str,
    /// An earlier run of the same command may have done a part of it, or all.
    pub again: bool,
    /// What a secret in its answer is made of; the same in every run.
    pub seed: &'a Seed,
    /// What is kept of a long one.
    pub operation: Option<&'a Operation>,
}

impl Run<'_> {
    /// A step of a long command begins.
    pub(super) async fn enter(&self, step: &'static str) {
        if let Some(operation) = self.operation {
            operation.enter(step).await;
        }
    }

    /// So much of the step is done.
    pub(super) async fn progress(&self, progress: Progress) {
        if let Some(operation) = self.operation {
            operation.progress(progress).await;
        }
    }
}

/// The arguments of a request, and what the user asked Trove for.
#[derive(Debug)]
pub struct Arguments<'a> {
    fields: Fields<'a>,
    pub(super) action: UserAction,
}

impl<'a> Arguments<'a> {
    /// Those of a request.
    pub fn new(fields: Fields<'a>, action: UserAction) -> Self {
        Self { fields, action }
    }

    /// The pair by which most methods name a user.
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

/// Reads a command's arguments: names are names, passwords are secrets, a list is a list. What Trove sends beyond them is
/// ignored, what it may leave out is optional.
pub(super) trait Decode: Command + Sized + 'static {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError>;
}

pub(super) type Decoded = Result<Box<dyn Command>, DecodeError>;

/// A method that is served, and how its arguments are read.
pub(super) struct Entry {
    pub(super) method: Method,
    pub(super) decode: fn(&Arguments<'_>) -> Decoded,
}

pub(super) const fn entry<C: Decode>(method: Method) -> Entry {
    Entry { method, decode: |args| C::decode(args).map(|command| Box::new(command) as Box<dyn Command>) }
}
