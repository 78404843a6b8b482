//! The commands of Trove's guest API and the agent's own: for each one everything that is particular to it, in one place.
//!
//! ```text
//! method, arguments --decode--> Box<dyn Command> --scopes--> delivery core --run--> Couch, Preparation, … --> value
//! ```
//!
//! One module holds one family of commands. A command is a struct whose fields are its arguments, read by [`Decode`];
//! [`Command`] has what the rest of the agent asks it. To add one, write both and name it in its family's `COMMANDS`.
//! A method that no family names is [`unsupported`]: it is answered at once, and not with silence.
//!
//! `methods.md` beside this file lists the methods of Trove 26.0.0, and which of them are served. Called by `transport`,
//! which takes care of order and retries. Knows nothing of RabbitMQ or HTTP. The shapes of results are
//! those that trove-api reads (trove/extensions/mysql/models.py).

mod access;
mod agent;
mod databases;
mod failure;
mod host;
mod lifecycle;
mod paging;
mod prepare;
mod root;
mod scopes;
mod seed;
mod service;
mod unsupported;
mod users;

use std::{fmt, ops::Deref, sync::Arc};

use futures_util::{FutureExt, future, future::BoxFuture};
use serde_json::Value;
use tracing::warn;
use trove_couchdb_protocol::{
    DecodeError, Fields, HostPattern, Request,
    trove::{Method, UserAction},
};

use crate::{bootstrap::Rotator, couch::Couch, host::Host, log, preparation::Preparation, status::Report};
pub use agent::RotateOsAdmin;
pub use failure::{Progress, RunError};
pub use prepare::{ImageBrings, PrepareError};
pub use scopes::{Changes, Scope, Scopes};
pub use seed::Seed;

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

    /// It has arrived, and waits for its turn.
    fn on_arrival(&self, _guest: &Guest) {}

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

/// How long a command may take, and so which retry timeout it has as a cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duration {
    /// Seconds.
    Short,
    /// As long as the server takes to come up, or longer.
    Long,
}

/// The guest that commands work on.
#[derive(Debug)]
pub struct Guest {
    /// The database.
    pub couch: Arc<Couch>,
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
    /// What needs root.
    pub host: Host,
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
}

/// The arguments of a request, and what the user asked Trove for.
#[derive(Debug)]
pub struct Arguments<'a> {
    fields: Fields<'a>,
    action: UserAction,
}

impl<'a> Arguments<'a> {
    /// Those of a request.
    pub fn new(fields: Fields<'a>, action: UserAction) -> Self {
        Self { fields, action }
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
trait Decode: Command + Sized + 'static {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError>;
}

type Decoded = Result<Box<dyn Command>, DecodeError>;

/// A method that is served, and how its arguments are read.
struct Entry {
    method: Method,
    decode: fn(&Arguments<'_>) -> Decoded,
}

const fn entry<C: Decode>(method: Method) -> Entry {
    Entry { method, decode: |args| C::decode(args).map(|command| Box::new(command) as Box<dyn Command>) }
}

/// Every method that is served.
const FAMILIES: &[&[Entry]] = &[
    access::COMMANDS,
    agent::COMMANDS,
    databases::COMMANDS,
    host::COMMANDS,
    lifecycle::COMMANDS,
    prepare::COMMANDS,
    root::COMMANDS,
    service::COMMANDS,
    users::COMMANDS,
];

fn entry_of(method: Method) -> Option<&'static Entry> {
    FAMILIES.iter().copied().flatten().find(|entry| entry.method == method)
}

/// Whether a method is served, at least in some of its uses.
pub fn is_served(method: Method) -> bool {
    entry_of(method).is_some()
}

/// The command that a request asks for, as a part of what the user asked Trove for.
pub fn of_request(request: &Request, action: UserAction) -> Result<Box<dyn Command>, DecodeError> {
    decode(&request.method, &Arguments::new(request.arguments(), action))
}

/// The command of a method with these arguments.
pub fn decode(method: &str, args: &Arguments<'_>) -> Result<Box<dyn Command>, DecodeError> {
    let Some(method) = Method::from_name(method) else {
        return Err(DecodeError::UnknownMethod(method.to_owned()));
    };
    match entry_of(method) {
        Some(entry) => (entry.decode)(args),
        None => Ok(Box::new(unsupported::Unsupported(method))),
    }
}

#[cfg(test)]
pub(crate) mod tests;
