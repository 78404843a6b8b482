//! `user-create`, `user-list`, `user-show`, `user-delete`, `user-update-attributes`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use trove_couchdb_protocol::{Secret, UserName};

use super::Session;
use crate::{
    args::{NewUser, PageArgs, PasswordArgs, UpdateArgs},
    client::{CallError, ListedUser},
    exit::CliError,
    output::{Report, write_out},
    prompt,
};

pub(super) async fn create(session: &Session<'_>, new: &NewUser) -> Result<Report, CliError> {
    let NewUser { name, databases, password } = new;
    let chosen = Chosen::from_args(name, password)?;
    let asked: Vec<&str> = databases.iter().map(trove_couchdb_protocol::DatabaseName::as_str).collect();
    let record = |databases: &[String]| vec![("name", name.as_str().into()), ("databases", json!(databases))];
    let names: Vec<String> = asked.iter().map(ToString::to_string).collect();
    let creation = session.agent.create_user(name, &chosen.password, databases);
    chosen.set(session, &record(&names), creation).await?;
    // A `_security` may contain a name before the user exists.
    let (message, databases) = if let Ok(Some(user)) = session.agent.user(name).await {
        (created(name, &asked, &user.databases), user.databases)
    } else {
        let message = format!(
            "Created user {:?}. The agent did not answer which databases it can use; `user-show` lists them.",
            name.as_str()
        );
        (message, names)
    };
    Ok(Report::done(message, chosen.in_record(record(&databases))))
}

/// The message for a new user: the requested databases, and others whose
/// `_security` already contained the name.
fn created(name: &UserName, asked: &[&str], access: &[String]) -> String {
    let waiting: Vec<&str> =
        access.iter().map(String::as_str).filter(|database| !asked.contains(database)).collect();
    let granted = match asked {
        [] => String::new(),
        some => format!(" with access to {}", some.join(", ")),
    };
    let name = name.as_str();
    match (asked, waiting.as_slice()) {
        ([], []) => format!("Created user {name:?}; it has no access yet."),
        (_, []) => format!("Created user {name:?}{granted}."),
        (_, waiting) => format!(
            "Created user {name:?}{granted}. It can also use {}, because its name was already in _security there; \
             `user-revoke-access` removes that access.",
            waiting.join(", ")
        ),
    }
}

/// Trove's list contains only access by name. Any other access is shown below it.
pub(super) async fn list(session: &Session<'_>, page: &PageArgs) -> Result<(), CliError> {
    let (users, next) = session.agent.users(page.limit, page.marker.as_deref()).await?;
    // A part of the list does not show which names belong to no user.
    let whole = page.limit.is_none() && page.marker.is_none();
    let names: BTreeSet<String> = users.iter().map(|user| user.name.clone()).collect();
    let report = session.agent.database_access().await?;
    let other = report.beyond(|name| !whole || names.contains(name), |_| false);
    session.note_marker(page, next.as_deref());
    let row = |user: ListedUser| vec![user.name.into(), user.host.into(), json!(user.databases)];
    let rows = users.into_iter().map(row).collect();
    let list = Report::List { columns: &["name", "host", "databases"], rows };
    session.show_beside(&list, "Other access:", &other)
}

pub(super) async fn show(session: &Session<'_>, name: &UserName) -> Result<Report, CliError> {
    let user = session.existing_user(name).await?;
    let details = session.agent.user_details(&[name.as_str()]).await?;
    let roles = details.and_then(|mut all| all.remove(name.as_str())).map(|details| details.roles);
    Ok(Report::Record(vec![
        ("name", user.name.into()),
        ("host", user.host.into()),
        ("databases", json!(user.databases)),
        // Null if the agent is too old to report roles.
        ("roles", json!(roles)),
    ]))
}

pub(super) async fn delete(session: &Session<'_>, name: &UserName) -> Result<Report, CliError> {
    session.consent.possible(&format!("delete user {:?}", name.as_str()))?;
    session.existing_user(name).await?;
    let details = session.agent.user_details(&[name.as_str()]).await?;
    let own =
        details.and_then(|mut all| all.remove(name.as_str())).and_then(|details| details.deleted_with_it);
    let question = match &own {
        None => format!("Delete user {:?} and all its access?", name.as_str()),
        Some(own) => format!(
            "Delete user {:?}, all its access, and its {}, which CouchDB deletes with it (couch_peruser, delete_dbs)?",
            name.as_str(),
            own.describe()
        ),
    };
    session.consent.ask(&question)?;
    session.agent.delete_user(name).await?;
    let mut message = format!("Deleted user {:?}.", name.as_str());
    let mut record = vec![("name", name.as_str().into())];
    if let Some(own) = own {
        message += &format!(" CouchDB deletes its {} with it.", own.describe());
        record.push(("deleted_with_it", own.document()));
    }
    Ok(Report::done(message, record))
}

pub(super) async fn update(session: &Session<'_>, update: &UpdateArgs) -> Result<Report, CliError> {
    let UpdateArgs { name, new_name, new_password, password } = update;
    session.existing_user(name).await?;
    let wanted = *new_password || password.password_stdin || password.generate;
    let chosen = if wanted { Some(Chosen::from_args(name, password)?) } else { None };
    let secret = chosen.as_ref().map(|chosen| &chosen.password);
    let record = vec![("name", new_name.as_ref().unwrap_or(name).as_str().into())];
    let request = session.agent.update_user(name, new_name.as_ref(), secret);
    match &chosen {
        Some(chosen) => chosen.set(session, &record, request).await?,
        None => request.await?,
    }
    let renamed = new_name.as_ref().map(|new| format!(" It is now called {:?}.", new.as_str()));
    let changed = chosen.as_ref().map(|_| " It has a new password.");
    let message = format!(
        "Changed user {:?}.{}{}",
        name.as_str(),
        renamed.unwrap_or_default(),
        changed.unwrap_or_default()
    );
    Ok(Report::done(message, chosen.map_or(record.clone(), |chosen| chosen.in_record(record))))
}

type Record = Vec<(&'static str, Value)>;

/// The password for a user.
struct Chosen {
    password: Secret,
    /// Whether the password was generated, so that it must be shown.
    generated: bool,
}

impl Chosen {
    fn from_args(name: &UserName, args: &PasswordArgs) -> Result<Self, CliError> {
        if args.generate {
            return Ok(Self { password: prompt::generated_password(), generated: true });
        }
        let password = if args.password_stdin {
            prompt::password_from_stdin()?
        } else {
            prompt::new_password(name.as_str())?
        };
        Ok(Self { password, generated: false })
    }

    /// Sends a request that sets the password. A generated password must not be lost, whatever the outcome of
    /// the request: people see it before the request is sent, and programs get it if the outcome is unknown.
    async fn set(
        &self,
        session: &Session<'_>,
        record: &Record,
        request: impl Future<Output = Result<(), CallError>>,
    ) -> Result<(), CliError> {
        if self.generated && session.output.is_table() {
            let label = if session.output.is_quiet() { "" } else { "password: " };
            write_out(&format!("{label}{}\n", self.password.expose()))?;
        }
        let answer = request.await;
        if let Err(error) = &answer
            && self.generated
            && !session.output.is_table()
            && error.may_have_taken_effect()
        {
            let mut record = self.in_record(record.clone());
            record.push(("outcome", "unknown".into()));
            session.output.show(&Report::Record(record))?;
        }
        Ok(answer?)
    }

    fn in_record(&self, mut record: Record) -> Record {
        if self.generated {
            record.push(("password", self.password.expose().into()));
        }
        record
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_new_user_is_shown_every_database_that_it_can_use() {
        let name: UserName = "svc@idp".parse().unwrap();
        let said = |asked: &[&str], access: &[&str]| {
            created(&name, asked, &access.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(said(&[], &[]), "Created user \"svc@idp\"; it has no access yet.");
        assert_eq!(said(&["a"], &["a"]), "Created user \"svc@idp\" with access to a.");
        assert_eq!(
            said(&["a"], &["a", "jw"]),
            "Created user \"svc@idp\" with access to a. It can also use jw, because its name was already in _security there; \
             `user-revoke-access` removes that access."
        );
    }
}
