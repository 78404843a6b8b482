//! The commands of Trove's guest API and the agent's own: for each one everything that is particular to it, in one place.
//!
//! ```text
//! method, arguments --decode--> Box<dyn Command> --scopes--> delivery core --run--> Couch, Lifecycle, … --> value
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
mod command;
mod databases;
mod failure;
mod host;
mod lifecycle;
mod operations;
mod paging;
mod prepare;
mod root;
mod scopes;
mod seed;
mod service;
mod unsupported;
mod users;

use trove_couchdb_protocol::{
    DecodeError, Request,
    trove::{Method, UserAction},
};

pub use agent::RotateOsAdmin;
pub use command::{Arguments, Command, Duration, Guest, Needs, Run, Running};
use command::{Decode, Decoded, Entry, entry};
pub use failure::{OperationError, Progress, RunError};
pub use prepare::{ImageBrings, PrepareError};
pub use scopes::{Changes, Scope, Scopes};
pub use seed::Seed;

/// Every method that is served.
const FAMILIES: &[&[Entry]] = &[
    access::COMMANDS,
    agent::COMMANDS,
    databases::COMMANDS,
    host::COMMANDS,
    lifecycle::COMMANDS,
    operations::COMMANDS,
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
