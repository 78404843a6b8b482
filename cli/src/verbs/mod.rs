//! The verbs that call an agent: typed arguments in, one or two calls, a [`Report`] out.
//!
//! Before a change a verb makes the same checks as trove-api (whether the user and the access exist), so that
//! its outcome is Trove's. The agent itself accepts many commands twice.

mod access;
mod agent;
mod configuration;
mod databases;
mod operation;
mod root;
mod service;
mod session;
mod users;

use crate::{args::Verb, exit::CliError, output::Report};

pub use agent::status_report;
use service::Change;
pub use session::Session;

/// Runs a verb that needs only an agent. `None` for all other verbs, and if the result was already shown.
pub async fn run(session: &Session<'_>, verb: &Verb) -> Result<Option<Report>, CliError> {
    let report = match verb {
        Verb::UserCreate(new) => users::create(session, new).await?,
        Verb::UserList(page) => return users::list(session, page).await.map(|()| None),
        Verb::UserShow(user) => users::show(session, &user.name).await?,
        Verb::UserDelete(user) => users::delete(session, &user.name).await?,
        Verb::UserUpdateAttributes(update) => users::update(session, update).await?,
        Verb::UserGrantAccess(args) => access::grant(session, args).await?,
        Verb::UserRevokeAccess(args) => access::revoke(session, args).await?,
        Verb::UserShowAccess(user) => return access::show(session, &user.name).await.map(|()| None),
        Verb::DatabaseCreate(new) => databases::create(session, &new.name).await?,
        Verb::DatabaseList(page) => databases::list(session, page).await?,
        Verb::DatabaseDelete(database) => databases::delete(session, &database.name).await?,
        Verb::RootEnable(args) => root::enable(session, args).await?,
        Verb::RootShow => root::show(session).await?,
        Verb::RootDisable => root::disable(session).await?,
        Verb::Ping => agent::ping(session).await?,
        Verb::Status => agent::status(session).await?,
        Verb::RotateOsAdmin => agent::rotate_os_admin(session).await?,
        Verb::LogLevel(args) => agent::log_level(session, args).await?,
        Verb::CouchdbConfigShow(args) => configuration::show(session, args).await?,
        Verb::CouchdbConfigSet(args) => configuration::set(session, args).await?,
        Verb::CouchdbConfigUnset(args) => configuration::unset(session, args).await?,
        Verb::CouchdbConfigApply(args) => configuration::apply(session, args).await?,
        Verb::SessionReset => configuration::reset_sessions(session).await?,
        Verb::ServiceStatus(args) => service::status(session, args).await?,
        Verb::ServiceStart(args) => service::change(session, Change::Start, args).await?,
        Verb::ServiceStop(args) => service::change(session, Change::Stop, args).await?,
        Verb::ServiceRestart(args) => service::change(session, Change::Restart, args).await?,
        Verb::ServiceWait(args) => service::wait(session, args).await?,
        Verb::OperationList => operation::list(session).await?,
        Verb::OperationShow(args) => operation::show(session, &args.id).await?,
        Verb::OperationLogs(args) => operation::logs(session, &args.id).await?,
        Verb::OperationWait(args) => operation::wait(session, args).await?,
        Verb::OperationCancel(args) => operation::cancel(session, &args.id).await?,
        Verb::OperationRehearse(args) => operation::rehearse(session, args).await?,
        _ => return Ok(None),
    };
    Ok(Some(report))
}
