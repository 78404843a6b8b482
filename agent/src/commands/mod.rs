//! The commands of Trove's guest API and of the agent itself. Everything specific to a command is in one
//! place.
//!
//! ```text
//! method, arguments -decode-> Box<dyn Command> -scopes-> delivery core -run-> Couch, Lifecycle, … -> value
//! ```
//!
//! Each module holds one family of commands. A command is a struct whose fields are its arguments, read by
//! [`Decode`]. [`Command`] is its interface to the rest of the agent. To add a command, write both and list
//! it in its family's `COMMANDS`. A method that no family lists is [`unsupported`]: the agent refuses it at
//! once instead of staying silent.
//!
//! `methods.md` in this directory lists the methods of Trove 26.0.0 and which of them are served. `transport`
//! calls the commands and handles order and retries. Commands know nothing of RabbitMQ or HTTP. Their results
//! have the form that trove-api reads (trove/extensions/mysql/models.py).

mod access;
mod agent;
mod command;
mod configuration;
mod databases;
mod failure;
mod host;
mod operations;
mod paging;
mod prepare;
mod root;
mod scopes;
mod seed;
mod server;
mod unsupported;
mod users;

use trove_couchdb_protocol::{
    DecodeError, Request,
    trove::{Method, UserAction},
};

pub use agent::RotateOsAdmin;
pub use command::{Arguments, Command, Duration, Guest, Needs, Run, Running};
use command::{CommandEntry, Decode, Decoded, entry};
pub use configuration::{Configuration, ConfigurationError};
pub use failure::{NotBack, OperationError, Progress, RunError};
pub use prepare::{ImageBrings, PrepareError};
pub use scopes::{Changes, Scope, Scopes};
pub use seed::Seed;
pub use server::stay_stopped;

/// Every method that the agent serves.
const FAMILIES: &[&[CommandEntry]] = &[
    access::COMMANDS,
    agent::COMMANDS,
    configuration::COMMANDS,
    databases::COMMANDS,
    host::COMMANDS,
    operations::COMMANDS,
    prepare::COMMANDS,
    root::COMMANDS,
    server::LIFECYCLE,
    server::SERVICE,
    server::VOLUME,
    users::COMMANDS,
];

fn entry_of(method: Method) -> Option<&'static CommandEntry> {
    FAMILIES.iter().copied().flatten().find(|entry| entry.method == method)
}

/// Whether the agent serves a method, at least in some of its uses.
pub fn is_served(method: Method) -> bool {
    entry_of(method).is_some()
}

/// The command of a request, given the user's action that the request is part of.
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
