//! `user-create`, `user-list`, `user-show`, `user-delete`, `user-update-attributes`.

use serde_json::{Value, json};
use trove_couchdb_protocol::{Secret, UserName};

use super::Session;
use crate::{
    args::{NewUser, PageArgs, PasswordArgs, UpdateArgs},
    ask,
    client::ListedUser,
    exit::CliError,
    output::Report,
};

pub(super) async fn create(session: &Session<'_>, new: &NewUser) -> Result<Report, CliError> {
    let NewUser { name, databases, password } = new;
    let (password, generated) = password_for(name, password)?;
    session.agent.create_user(name, &password, databases).await?;
    let databases: Vec<&str> = databases.iter().map(trove_couchdb_protocol::DatabaseName::as_str).collect();
    let message = match databases.as_slice() {
        [] => format!("User {:?} is created; it has no access yet.", name.as_str()),
        some => format!("User {:?} is created, with access to {}.", name.as_str(), some.join(", ")),
    };
    let record = vec![("name", name.as_str().into()), ("databases", json!(databases))];
    Ok(with_password(message, record, &password, generated))
}

pub(super) async fn list(session: &Session<'_>, page: &PageArgs) -> Result<Report, CliError> {
    let (users, next) = session.agent.users(page.limit, page.marker.as_deref()).await?;
    session.note_marker(page, next.as_deref());
    let row = |user: ListedUser| vec![user.name.into(), user.host.into(), json!(user.databases)];
    Ok(Report::List { columns: &["name", "host", "databases"], rows: users.into_iter().map(row).collect() })
}

pub(super) async fn show(session: &Session<'_>, name: &UserName) -> Result<Report, CliError> {
    let user = session.existing_user(name).await?;
    Ok(Report::Record(vec![
        ("name", user.name.into()),
        ("host", user.host.into()),
        ("databases", json!(user.databases)),
    ]))
}

pub(super) async fn delete(session: &Session<'_>, name: &UserName) -> Result<Report, CliError> {
    session.consent.possible(&format!("deleting user {:?}", name.as_str()))?;
    session.existing_user(name).await?;
    session.consent.ask(&format!("Delete user {:?} and all its access?", name.as_str()))?;
    session.agent.delete_user(name).await?;
    let message = format!("User {:?} is deleted.", name.as_str());
    Ok(Report::done(message, vec![("name", name.as_str().into())]))
}

pub(super) async fn update(session: &Session<'_>, update: &UpdateArgs) -> Result<Report, CliError> {
    let UpdateArgs { name, new_name, new_password, password } = update;
    session.existing_user(name).await?;
    let wanted = *new_password || password.password_stdin || password.generate;
    let chosen = if wanted { Some(password_for(name, password)?) } else { None };
    let secret = chosen.as_ref().map(|(secret, _)| secret);
    session.agent.update_user(name, new_name.as_ref(), secret).await?;
    let renamed = new_name.as_ref().map(|new| format!(" It is now called {:?}.", new.as_str()));
    let changed = chosen.as_ref().map(|_| " It has a new password.");
    let message = format!(
        "User {:?} is changed.{}{}",
        name.as_str(),
        renamed.unwrap_or_default(),
        changed.unwrap_or_default()
    );
    let record = vec![("name", new_name.as_ref().unwrap_or(name).as_str().into())];
    Ok(match chosen {
        Some((secret, generated)) => with_password(message, record, &secret, generated),
        None => Report::done(message, record),
    })
}

/// The password for a user, and whether nobody knows it yet.
fn password_for(name: &UserName, args: &PasswordArgs) -> Result<(Secret, bool), CliError> {
    if args.generate {
        return Ok((ask::generated_password(), true));
    }
    let password =
        if args.password_stdin { ask::password_from_stdin()? } else { ask::new_password(name.as_str())? };
    Ok((password, false))
}

fn with_password(
    message: String,
    mut record: Vec<(&'static str, Value)>,
    password: &Secret,
    generated: bool,
) -> Report {
    if !generated {
        return Report::done(message, record);
    }
    record.push(("password", password.expose().into()));
    Report::Done { message, record, shown: &["password"] }
}
