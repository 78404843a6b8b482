//! The arguments of `create_user`, `delete_user`, `get_user`, `change_passwords` and `update_attributes`.
//!
//! Trove has two notations for a user: its serialized model (`_name`, `_host`, `_password`, `_databases`) in
//! `create_user`, `prepare` and `delete_user`, and plain keys (`name`, `host`, `password`) in the other two
//! (`trove/extensions/mysql/models.py`). Called by [`super::Command::decode`] and [`super::prepare`] only.

use super::Command;
use crate::{
    error::DecodeError,
    fields::{Field, Fields},
    names::{DatabaseName, HostPattern, UserName},
    secret::Secret,
};

/// A user to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// Its name.
    pub name: UserName,
    /// From where it may log in.
    pub host: HostPattern,
    /// Its password; Trove's model allows none.
    pub password: Option<Secret>,
    /// The databases it gets access to.
    pub databases: Vec<DatabaseName>,
}

/// A user's new password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordChange {
    /// Whose.
    pub user: UserName,
    /// From where it can log in.
    pub host: HostPattern,
    /// The new one.
    pub password: Secret,
}

pub(super) fn create(args: &Fields<'_>) -> Result<Command, DecodeError> {
    let users = args.required("users")?.list_of(new_user)?;
    Ok(Command::CreateUser { users })
}

/// A user in Trove's serialized model, as `create_user` and `prepare` send it.
pub(super) fn new_user(field: &Field<'_>) -> Result<NewUser, DecodeError> {
    let user = field.object()?;
    let databases = user.optional_as("_databases", |list| list.list_of(Field::database_name))?;
    Ok(NewUser {
        name: user.required("_name")?.user_name()?,
        host: user.host("_host")?,
        password: user.optional_as("_password", Field::secret)?,
        databases: databases.unwrap_or_default(),
    })
}

pub(super) fn delete(args: &Fields<'_>) -> Result<Command, DecodeError> {
    let user = args.required("user")?.object()?;
    Ok(Command::DeleteUser { user: user.required("_name")?.user_name()?, host: user.host("_host")? })
}

pub(super) fn get(args: &Fields<'_>) -> Result<Command, DecodeError> {
    let (user, host) = user_and_host(args)?;
    Ok(Command::GetUser { user, host })
}

pub(super) fn change_passwords(args: &Fields<'_>) -> Result<Command, DecodeError> {
    let users = args.required("users")?.list_of(|change| {
        let change = change.object()?;
        Ok(PasswordChange {
            user: change.required("name")?.user_name()?,
            host: change.host("host")?,
            password: change.required("password")?.secret()?,
        })
    })?;
    Ok(Command::ChangePasswords { users })
}

pub(super) fn update_attributes(args: &Fields<'_>) -> Result<Command, DecodeError> {
    let (user, host) = user_and_host(args)?;
    let wanted = args.required("user_attrs")?.object()?;
    Ok(Command::UpdateAttributes {
        user,
        host,
        rename: wanted.optional_as("name", Field::user_name)?,
        password: wanted.optional_as("password", Field::secret)?,
        new_host: wanted.optional_as("host", Field::host)?,
    })
}

/// The pair by which most methods name a user.
pub(super) fn user_and_host(args: &Fields<'_>) -> Result<(UserName, HostPattern), DecodeError> {
    Ok((args.required("username")?.user_name()?, args.host("hostname")?))
}
