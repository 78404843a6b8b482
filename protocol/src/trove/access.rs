//! The arguments of `grant_access`, `revoke_access` and `list_access`.
//!
//! Called by [`super::Command::decode`] only. Databases come as bare names here, unlike in `create_database`.

use super::{Command, users::user_and_host};
use crate::{
    error::DecodeError,
    fields::{Field, Fields},
};

pub(super) fn grant(args: &Fields<'_>) -> Result<Command, DecodeError> {
    let (user, host) = user_and_host(args)?;
    let databases = args.required("databases")?.list_of(Field::database_name)?;
    Ok(Command::GrantAccess { user, host, databases })
}

pub(super) fn revoke(args: &Fields<'_>) -> Result<Command, DecodeError> {
    let (user, host) = user_and_host(args)?;
    let database = args.required("database")?.database_name()?;
    Ok(Command::RevokeAccess { user, host, database })
}

pub(super) fn list(args: &Fields<'_>) -> Result<Command, DecodeError> {
    let (user, host) = user_and_host(args)?;
    Ok(Command::ListAccess { user, host })
}
