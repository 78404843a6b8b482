//! `database-create`, `database-list`, `database-delete`.

use trove_couchdb_protocol::DatabaseName;

use super::Session;
use crate::{
    args::PageArgs,
    exit::{CliError, Code},
    output::Report,
};

pub(super) async fn create(session: &Session<'_>, name: &DatabaseName) -> Result<Report, CliError> {
    // The agent accepts an existing database, because commands may be delivered twice; trove-api refuses it.
    if session.agent.has_database(name).await? {
        return Err(CliError::new(Code::Exists, format!("database {:?} already exists", name.as_str())));
    }
    session.agent.create_database(name).await?;
    let message = format!("Created database {:?}.", name.as_str());
    Ok(Report::done(message, vec![("name", name.as_str().into())]))
}

pub(super) async fn list(session: &Session<'_>, page: &PageArgs) -> Result<Report, CliError> {
    let (names, next) = session.agent.databases(page.limit, page.marker.as_deref()).await?;
    session.note_marker(page, next.as_deref());
    Ok(Report::List { columns: &["name"], rows: names.into_iter().map(|name| vec![name.into()]).collect() })
}

pub(super) async fn delete(session: &Session<'_>, name: &DatabaseName) -> Result<Report, CliError> {
    session.consent.possible(&format!("delete database {:?}", name.as_str()))?;
    if !session.agent.has_database(name).await? {
        let missing = CliError::not_found(&format!("database {:?}", name.as_str()));
        return Err(missing.advise("`database-list` shows all databases"));
    }
    session.consent.ask(&format!("Delete database {:?} and all its documents?", name.as_str()))?;
    session.agent.delete_database(name).await?;
    let message = format!("Deleted database {:?}.", name.as_str());
    Ok(Report::done(message, vec![("name", name.as_str().into())]))
}
