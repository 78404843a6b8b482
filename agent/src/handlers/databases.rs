//! `create_database`, `delete_database`, `list_databases`.

use serde_json::{Value, json};
use trove_couchdb_protocol::{
    DatabaseName,
    trove::{DatabaseModel, Page},
};

use super::Run;
use crate::couch::{CommandError, Couch, CreateDatabases};

pub(super) async fn create(
    couch: &Couch,
    databases: &[DatabaseName],
    run: Run<'_>,
) -> Result<Value, CommandError> {
    let databases = couch.policy().databases(databases.to_vec())?;
    couch.create_databases(&CreateDatabases { databases, rerun: run.again }).await?;
    Ok(Value::Null)
}

pub(super) async fn delete(
    couch: &Couch,
    database: &DatabaseName,
    run: Run<'_>,
) -> Result<Value, CommandError> {
    couch.delete_database(&couch.policy().database(database.clone())?, run.again).await?;
    Ok(Value::Null)
}

pub(super) async fn list(couch: &Couch, page: &Page) -> Result<Value, CommandError> {
    let (names, next) = couch.list_databases(page).await?;
    let databases: Vec<Value> = names.into_iter().map(|name| DatabaseModel { name }.to_value()).collect();
    Ok(json!([databases, next]))
}
