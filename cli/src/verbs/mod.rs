//! The verbs that ask an agent: typed arguments in, a call or two, a [`Report`] out.
//!
//! Before a command that changes something the same questions are asked as trove-api asks (does the user exist, is the
//! access there?), so that the outcome is Trove's, and not that of the agent, which takes many commands twice.

mod access;
mod agent;
mod databases;
mod root;
mod service;
mod users;

use serde_json::json;
use trove_couchdb_protocol::UserName;

use crate::{
    args::{PageArgs, Verb},
    ask::Consent,
    client::{Connection, ListedUser},
    exit::CliError,
    output::{Output, Report, printable, write_out},
};

pub use agent::status_report;
use service::Change;

/// What a verb works with.
#[derive(Debug)]
pub struct Session<'a> {
    /// The agent.
    pub agent: &'a Connection,
    /// How results are shown.
    pub output: Output,
    /// Whether the operator has said yes.
    pub consent: Consent,
}

/// Runs one of the verbs that need nothing but an agent; `None` for the others, and where all is shown
/// already.
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
        Verb::ServiceStatus(args) => service::status(session, args).await?,
        Verb::ServiceStart(args) => service::change(session, Change::Start, args).await?,
        Verb::ServiceStop(args) => service::change(session, Change::Stop, args).await?,
        Verb::ServiceRestart(args) => service::change(session, Change::Restart, args).await?,
        Verb::ServiceWait(args) => service::wait(session, args).await?,
        _ => return Ok(None),
    };
    Ok(Some(report))
}

impl Session<'_> {
    /// A user that must be there.
    pub(crate) async fn existing_user(&self, name: &UserName) -> Result<ListedUser, CliError> {
        let found = self.agent.user(name).await?;
        found.ok_or_else(|| {
            CliError::not_found(&format!("user {:?}", name.as_str())).advise("`user-list` shows all users")
        })
    }

    /// Shows what a result has no place for: below a table, else as a note.
    fn show_beside(&self, report: &Report, head: &str, texts: &[String]) -> Result<(), CliError> {
        self.output.show(report)?;
        if texts.is_empty() {
            return Ok(());
        }
        let text =
            format!("{head}\n{}", texts.iter().map(|text| format!("    {text}\n")).collect::<String>());
        if self.output.is_table() {
            return write_out(&printable(&text));
        }
        self.output.note(printable(&text).trim_end());
        Ok(())
    }

    /// Tells where a list goes on.
    fn note_marker(&self, page: &PageArgs, next: Option<&str>) {
        if let (Some(_), Some(next)) = (page.limit, next) {
            self.output.note(&format!("There are more: --marker {}", json!(next)));
        }
    }
}
