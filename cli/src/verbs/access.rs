//! `user-grant-access`, `user-revoke-access`, `user-show-access`.

use serde_json::json;
use trove_couchdb_protocol::UserName;

use super::Session;
use crate::{
    args::{UserAndDatabase, UserAndDatabases},
    exit::{CliError, Code},
    output::Report,
};

pub(super) async fn grant(session: &Session<'_>, args: &UserAndDatabases) -> Result<Report, CliError> {
    let UserAndDatabases { name, databases } = args;
    session.existing_user(name).await?;
    session.agent.grant(name, databases).await?;
    let databases: Vec<&str> = databases.iter().map(trove_couchdb_protocol::DatabaseName::as_str).collect();
    let message = format!("User {:?} has access to {}.", name.as_str(), databases.join(", "));
    Ok(Report::done(message, vec![("name", name.as_str().into()), ("databases", json!(databases))]))
}

pub(super) async fn revoke(session: &Session<'_>, args: &UserAndDatabase) -> Result<Report, CliError> {
    let UserAndDatabase { name, database } = args;
    session.existing_user(name).await?;
    let granted = session.agent.access(name).await?;
    if !granted.iter().any(|granted| granted == database.as_str()) {
        let (user, database) = (name.as_str(), database.as_str());
        return Err(CliError::new(
            Code::NotFound,
            format!("user {user:?} has no access to database {database:?}"),
        )
        .advise("`user-show-access` lists the databases that the user has access to"));
    }
    session.agent.revoke(name, database).await?;
    let message = format!("Revoked the access of user {:?} to {}.", name.as_str(), database.as_str());
    let record = vec![("name", name.as_str().into()), ("database", database.as_str().into())];
    Ok(Report::done(message, record))
}

/// Trove's list contains only access as a member by name. Any other access is shown below it.
pub(super) async fn show(session: &Session<'_>, name: &UserName) -> Result<(), CliError> {
    session.existing_user(name).await?;
    let databases = session.agent.access(name).await?;
    let rows = databases.into_iter().map(|database| vec![database.into()]).collect();
    let list = Report::List { columns: &["name"], rows };
    let details = session.agent.user_details(&[name.as_str()]).await?;
    let roles = details.and_then(|mut all| all.remove(name.as_str())).unwrap_or_default().roles;
    let other = session.agent.database_access().await?.other_ways(name.as_str(), &roles);
    session.show_beside(&list, "Other access of this user:", &other)
}
