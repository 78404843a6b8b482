//! The arguments of `create_database` and `delete_database`.
//!
//! Called by [`super::Command::decode`] only. Trove sends its serialized model; character set and collation mean nothing
//! to `CouchDB` and are ignored.

use super::Command;
use crate::{
    error::DecodeError,
    fields::{Field, Fields},
};

pub(super) fn create(args: &Fields<'_>) -> Result<Command, DecodeError> {
    let databases = args.required("databases")?.list_of(Field::database_name)?;
    Ok(Command::CreateDatabase { databases })
}

pub(super) fn delete(args: &Fields<'_>) -> Result<Command, DecodeError> {
    let database = args.required("database")?.database_name()?;
    Ok(Command::DeleteDatabase { database })
}
