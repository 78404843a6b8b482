//! `create_user`, `delete_user`, `get_user`, `list_users`, `change_passwords`, `update_attributes`.

use serde_json::{Value, json};
use trove_couchdb_protocol::{
    Secret, UserName,
    trove::{NewUser, Page, PasswordChange},
};

use super::Run;
use crate::couch::{CommandError, Couch, NewAccount};

pub(super) async fn create(couch: &Couch, users: &[NewUser], run: Run<'_>) -> Result<Value, CommandError> {
    couch.create_users(&accounts(couch, users)?, run.id).await?;
    Ok(Value::Null)
}

/// The users of a command, if every name in it may be used and every password is given.
pub(super) fn accounts(couch: &Couch, users: &[NewUser]) -> Result<Vec<NewAccount>, CommandError> {
    let policy = couch.policy();
    let account = |new: &NewUser| {
        let user = policy.user(new.name.clone())?;
        let Some(password) = new.password.clone() else {
            return Err(CommandError::PasswordMissing(new.name.clone()));
        };
        Ok(NewAccount { user, password, databases: policy.databases(new.databases.clone())? })
    };
    users.iter().map(account).collect()
}

pub(super) async fn delete(couch: &Couch, user: &UserName, run: Run<'_>) -> Result<Value, CommandError> {
    couch.delete_user(&couch.policy().user(user.clone())?, run.again).await?;
    Ok(Value::Null)
}

/// `null` for a user that isn't there: the API makes its own 404 of it.
pub(super) async fn get(couch: &Couch, user: &UserName) -> Result<Value, CommandError> {
    let found = couch.get_user(&couch.policy().user(user.clone())?).await?;
    Ok(found.map_or(Value::Null, |user| user.to_value()))
}

pub(super) async fn list(couch: &Couch, page: &Page) -> Result<Value, CommandError> {
    let (users, next) = couch.list_users(page).await?;
    let users: Vec<Value> = users.iter().map(trove_couchdb_protocol::trove::UserModel::to_value).collect();
    Ok(json!([users, next]))
}

pub(super) async fn change_passwords(
    couch: &Couch,
    changes: &[PasswordChange],
) -> Result<Value, CommandError> {
    let policy = couch.policy();
    let mut passwords = Vec::with_capacity(changes.len());
    for change in changes {
        passwords.push((policy.user(change.user.clone())?, change.password.clone()));
    }
    couch.change_passwords(&passwords).await?;
    Ok(Value::Null)
}

pub(super) async fn update_attributes(
    couch: &Couch,
    user: &UserName,
    rename: Option<&UserName>,
    password: Option<&Secret>,
    run: Run<'_>,
) -> Result<Value, CommandError> {
    let policy = couch.policy();
    let current = policy.user(user.clone())?;
    match (rename.filter(|name| *name != user), password) {
        (Some(name), password) => {
            couch.rename_user(&current, &policy.user(name.clone())?, password, run.id).await?;
        }
        (None, Some(password)) => couch.change_passwords(&[(current, password.clone())]).await?,
        // Nothing to change is no error, and nobody to change is one.
        (None, None) => couch.require_user(&current).await?,
    }
    Ok(Value::Null)
}
