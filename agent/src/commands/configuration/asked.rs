//! Reads options from the arguments of a command.

use trove_couchdb_protocol::{DecodeError, Field};

use crate::{
    commands::{Needs, Scope, Scopes},
    couch::configuration::{
        error::OptionError,
        ini::from_ini,
        option::ConfigOption,
        values::{Values, named},
    },
};

/// What a command asks for, or why it is refused. A refusal is an answer to the command and not a message
/// that can't be read.
pub(super) type Asked<T> = Result<T, OptionError>;

/// The longest ini text, in bytes.
const LONGEST: usize = 256 * 1024;

/// A request that is refused needs nothing.
pub(super) fn needs<T>(asked: &Asked<T>) -> Needs {
    if asked.is_ok() { Needs::CouchDb } else { Needs::Nothing }
}

/// The scopes of a change.
pub(super) fn scopes() -> Scopes {
    Scopes::writing([Scope::Configuration])
}

/// An object with a value for each option.
pub(super) fn values(field: &Field<'_>) -> Result<Asked<Values>, DecodeError> {
    let map = field.map()?;
    let mut values = Values::default();
    let added = map.iter().try_for_each(|(name, value)| values.add_json(name, value, field.quoted(name)));
    Ok(added.map(|()| values))
}

/// A list of names.
pub(super) fn names(field: &Field<'_>) -> Result<Asked<Vec<&'static ConfigOption>>, DecodeError> {
    let names = field.list_of(|name| Ok((name.string()?, name.quoted(name.text()?))))?;
    Ok(names.into_iter().map(|(name, quoted)| named(&name, quoted)).collect())
}

/// A text in the format of CouchDB's ini files.
pub(super) fn ini(field: &Field<'_>) -> Result<Asked<Values>, DecodeError> {
    let text = field.short::<LONGEST>("text of at most 256 KiB")?;
    Ok(from_ini(&text, |name| field.quoted(name)))
}
