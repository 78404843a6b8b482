//! Reading typed values out of a JSON object, with errors that name the path: `users[0]._name`.
//!
//! Used by everything in this crate that takes a message apart, and by the agent for the arguments of its commands. Absent and null are the same thing on this wire:
//! Python's `None` is sent for whatever a caller left out. Keys that nobody asks for are never looked at, so extra ones
//! are harmless.

use std::time::Duration;

use serde_json::{Map, Value};

pub use crate::limits::MAX_NAMES;
use crate::{
    error::DecodeError,
    names::{DatabaseName, HostPattern, UserName},
    quote::{Disclosure, Quoted},
    secret::Secret,
};

/// Nothing, or that a command names too many users and databases.
pub fn at_most_max_names(named: usize) -> Result<(), DecodeError> {
    if named > MAX_NAMES { Err(DecodeError::TooManyNames { named }) } else { Ok(()) }
}

/// A JSON object and where it stands in the message.
#[derive(Debug)]
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: String,
    disclosure: Disclosure,
}

impl<'a> Fields<'a> {
    /// The object that holds everything else; its own name does not appear in paths.
    pub fn root(map: &'a Map<String, Value>) -> Self {
        Self::of(map, Disclosure::Open)
    }

    /// The same for an object whose values arrived so.
    pub fn of(map: &'a Map<String, Value>, disclosure: Disclosure) -> Self {
        Self { map, path: String::new(), disclosure }
    }

    /// The value of a key that must be there and not be null.
    pub fn required(&self, key: &str) -> Result<Field<'a>, DecodeError> {
        self.optional(key).ok_or_else(|| DecodeError::missing(&self.path_of(key)))
    }

    /// The value of a key that may be absent or null.
    pub fn optional(&self, key: &str) -> Option<Field<'a>> {
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        Some(Field { path: self.path_of(key), value, disclosure: self.disclosure })
    }

    /// Like [`Self::optional`], with the value read by one of the methods of [`Field`].
    pub fn optional_as<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Field<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        self.optional(key).as_ref().map(read).transpose()
    }

    /// The host of a user; absent means any.
    pub fn host(&self, key: &str) -> Result<HostPattern, DecodeError> {
        Ok(self.optional_as(key, Field::host)?.unwrap_or_default())
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// A JSON value that is not null, and where it stands in the message.
#[derive(Debug)]
pub struct Field<'a> {
    path: String,
    value: &'a Value,
    disclosure: Disclosure,
}

impl<'a> Field<'a> {
    /// Text.
    pub fn text(&self) -> Result<&'a str, DecodeError> {
        self.value.as_str().ok_or_else(|| self.wrong("text"))
    }

    /// Text, owned.
    pub fn string(&self) -> Result<String, DecodeError> {
        self.text().map(str::to_owned)
    }

    /// Text in the form in which an error may repeat it.
    pub fn quoted(&self, text: &str) -> Quoted {
        Quoted::new(text, self.disclosure)
    }

    /// Text that is kept, logged or echoed: a sender must not be able to fill memory or logs with it.
    pub fn short<const MAX: usize>(&self, expected: &'static str) -> Result<String, DecodeError> {
        let text = self.string()?;
        if text.len() > MAX { Err(self.wrong(expected)) } else { Ok(text) }
    }

    /// Text that is kept out of logs and errors.
    pub fn secret(&self) -> Result<Secret, DecodeError> {
        self.text().map(Secret::new)
    }

    /// True or false.
    pub fn flag(&self) -> Result<bool, DecodeError> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// Any number.
    pub fn number(&self) -> Result<f64, DecodeError> {
        self.value.as_f64().ok_or_else(|| self.wrong("a number"))
    }

    /// Seconds as Python's `int()` makes them of a number or of text; `None` for anything that is no length of time.
    pub fn whole_seconds(&self) -> Option<u64> {
        match self.value {
            Value::Number(number) => number.as_u64().or_else(|| {
                let seconds = number.as_f64()?.trunc();
                Duration::try_from_secs_f64(seconds).ok().map(|time| time.as_secs())
            }),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A whole number, not below 0.
    pub fn count(&self) -> Result<usize, DecodeError> {
        let number = self.value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| self.wrong("a whole number"))
    }

    /// An object as it is.
    pub fn map(&self) -> Result<&'a Map<String, Value>, DecodeError> {
        self.value.as_object().ok_or_else(|| self.wrong("an object"))
    }

    /// An object whose fields are read by name.
    pub fn object(&self) -> Result<Fields<'a>, DecodeError> {
        Ok(Fields { map: self.map()?, path: self.path.clone(), disclosure: self.disclosure })
    }

    /// Every item of a list, read by one of the methods of this type.
    pub fn list_of<T>(
        &self,
        read: impl Fn(&Field<'a>) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        let disclosure = self.disclosure;
        let item =
            |(index, value)| read(&Field { path: format!("{}[{index}]", self.path), value, disclosure });
        items.iter().enumerate().map(item).collect()
    }

    /// A user name that CouchDB and Trove accept.
    pub fn user_name(&self) -> Result<UserName, DecodeError> {
        UserName::read(self.text()?, self.disclosure).map_err(|source| DecodeError::name(&self.path, source))
    }

    /// A database as Trove serializes it, `{"_name": …}`, or as bare text: `grant_access` sends the latter.
    pub fn database_name(&self) -> Result<DatabaseName, DecodeError> {
        match self.value {
            Value::Object(_) => self.object()?.required("_name")?.database_name(),
            Value::String(name) => DatabaseName::read(name, self.disclosure)
                .map_err(|source| DecodeError::name(&self.path, source)),
            _ => Err(self.wrong("a database: its name, or an object with `_name`")),
        }
    }

    /// The value itself, for a caller that only asks whether there is something.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// The host of a user.
    pub fn host(&self) -> Result<HostPattern, DecodeError> {
        self.text().map(HostPattern::new)
    }

    /// The error for a value that is not what it must be.
    pub fn wrong(&self, expected: &'static str) -> DecodeError {
        DecodeError::wrong_type(&self.path, expected)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(value: &Value, read: impl FnOnce(&Fields<'_>) -> Result<(), DecodeError>) -> String {
        read(&Fields::root(value.as_object().unwrap())).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_whole_path() {
        let users = json!({"users": [{"_name": "a", "_databases": [{"_name": "ok"}, {"_name": 5}]}]});
        let read = |fields: &Fields<'_>| {
            let databases =
                |user: &Field<'_>| user.object()?.required("_databases")?.list_of(Field::database_name);
            fields.required("users")?.list_of(databases).map(drop)
        };
        assert_eq!(
            message(&users, read),
            "`users[0]._databases[1]._name` must be a database: its name, or an object with `_name`"
        );
        assert_eq!(message(&json!({"users": [{}]}), read), "`users[0]._databases` is missing or null");
        assert_eq!(message(&json!({"users": {}}), read), "`users` must be a list");
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let value = json!({"a": null});
        let fields = Fields::root(value.as_object().unwrap());
        assert!(fields.optional("a").is_none() && fields.optional("b").is_none());
        assert_eq!(fields.required("a").unwrap_err(), DecodeError::missing("a"));
        assert!(fields.host("a").unwrap().is_any());
    }

    #[test]
    fn seconds_are_what_python_makes_of_them_or_nothing() {
        let disclosure = Disclosure::Open;
        let read =
            |seconds: &Value| Field { path: "t".to_owned(), value: seconds, disclosure }.whole_seconds();
        for (good, seconds) in [
            (json!(4), 4),
            (json!(0), 0),
            (json!(2.5), 2),
            (json!(2.999), 2),
            (json!(-0.5), 0),
            (json!("4"), 4),
            (json!(" +4\n"), 4),
            (json!(u64::MAX), u64::MAX),
        ] {
            assert_eq!(read(&good), Some(seconds), "{good}");
        }
        for bad in [
            json!(-1),
            json!(-1.0),
            json!(1e30),
            json!(""),
            json!("-4"),
            json!("2.5"),
            json!("soon"),
            json!("99999999999999999999"),
            json!(true),
            json!([4]),
            json!({"s": 4}),
        ] {
            assert_eq!(read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn counts_are_whole_and_not_below_zero() {
        for bad in [json!(-1), json!(1.5), json!("1"), json!(true), json!([1])] {
            let value = json!({ "limit": bad });
            let read = |fields: &Fields<'_>| fields.required("limit")?.count().map(drop);
            assert_eq!(message(&value, read), "`limit` must be a whole number");
        }
    }
}
