//! `grant_access`, `revoke_access`, `list_access`.

use serde_json::Value;
use trove_couchdb_protocol::{DatabaseName, UserName, trove::DatabaseModel};

use crate::couch::{CommandError, Couch};

pub(super) async fn grant(
    couch: &Couch,
    user: &UserName,
    databases: &[DatabaseName],
) -> Result<Value, CommandError> {
    let policy = couch.policy();
    let user = policy.user(user.clone())?;
    couch.grant_access(&user, &policy.databases(databases.to_vec())?).await?;
    Ok(Value::Null)
}

pub(super) async fn revoke(
    couch: &Couch,
    user: &UserName,
    database: &DatabaseName,
) -> Result<Value, CommandError> {
    let policy = couch.policy();
    couch.revoke_access(&policy.user(user.clone())?, &policy.database(database.clone())?).await?;
    Ok(Value::Null)
}

pub(super) async fn list(couch: &Couch, user: &UserName) -> Result<Value, CommandError> {
    let names = couch.list_access(&couch.policy().user(user.clone())?).await?;
    Ok(names.into_iter().map(|name| DatabaseModel { name }.to_value()).collect())
}
