//! Reads typed values from a JSON object, with errors that name the path: `users[0]._name`.
//!
//! Used by the decoders of this crate and by the agent's commands for their arguments. Absent and null are
//! equal: Python sends `None` for every omitted argument. Unknown keys are ignored.

use std::time::Duration;

use serde_json::{Map, Value};

pub use crate::limits::MAX_NAMES;
use crate::{
    error::DecodeError,
    names::{DatabaseName, HostPattern, UserName},
    quote::{Disclosure, Quoted},
    secret::Secret,
};

/// Refuses a command that names more than [`MAX_NAMES`] users and databases.
pub fn at_most_max_names(named: usize) -> Result<(), DecodeError> {
    if named > MAX_NAMES { Err(DecodeError::TooManyNames { named }) } else { Ok(()) }
}

/// A JSON object and its path in the message.
#[derive(Debug)]
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: String,
    disclosure: Disclosure,
}

impl<'a> Fields<'a> {
    /// The outermost object; its name does not appear in paths.
    pub fn root(map: &'a Map<String, Value>) -> Self {
        Self::of(map, Disclosure::Open)
    }

    /// The outermost object of a message whose values have this disclosure.
    pub fn of(map: &'a Map<String, Value>, disclosure: Disclosure) -> Self {
        Self { map, path: String::new(), disclosure }
    }

    /// The value of a required key; absent or null is an error.
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

    /// The host of a user; absent means any host.
    pub fn host(&self, key: &str) -> Result<HostPattern, DecodeError> {
        Ok(self.optional_as(key, Field::host)?.unwrap_or_default())
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// A non-null JSON value and its path in the message.
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

    /// The text in the form that an error may repeat.
    pub fn quoted(&self, text: &str) -> Quoted {
        Quoted::new(text, self.disclosure)
    }

    /// Text of at most `MAX` bytes. For text that is stored, logged or echoed, so that
    /// a sender cannot fill memory or logs.
    pub fn short<const MAX: usize>(&self, expected: &'static str) -> Result<String, DecodeError> {
        let text = self.string()?;
        if text.len() > MAX { Err(self.wrong(expected)) } else { Ok(text) }
    }

    /// Text that must not appear in logs and errors.
    pub fn secret(&self) -> Result<Secret, DecodeError> {
        self.text().map(Secret::new)
    }

    /// A boolean.
    pub fn flag(&self) -> Result<bool, DecodeError> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// Any number.
    pub fn number(&self) -> Result<f64, DecodeError> {
        self.value.as_f64().ok_or_else(|| self.wrong("a number"))
    }

    /// Seconds, converted from a number or text like Python's `int()`; `None` if the value is not a duration.
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

    /// A whole number of at least 0.
    pub fn count(&self) -> Result<usize, DecodeError> {
        let number = self.value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| self.wrong("a whole number"))
    }

    /// An object, as a map.
    pub fn map(&self) -> Result<&'a Map<String, Value>, DecodeError> {
        self.value.as_object().ok_or_else(|| self.wrong("an object"))
    }

    /// An object, as [`Fields`].
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

    /// A valid user name.
    pub fn user_name(&self) -> Result<UserName, DecodeError> {
        UserName::read(self.text()?, self.disclosure).map_err(|source| DecodeError::name(&self.path, source))
    }

    /// A database as Trove serializes it, `{"_name": …}`, or as plain text, which `grant_access` sends.
    pub fn database_name(&self) -> Result<DatabaseName, DecodeError> {
        match self.value {
            Value::Object(_) => self.object()?.required("_name")?.database_name(),
            Value::String(name) => DatabaseName::read(name, self.disclosure)
                .map_err(|source| DecodeError::name(&self.path, source)),
            _ => Err(self.wrong("a database: its name, or an object with `_name`")),
        }
    }

    /// The raw value.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// The host of a user.
    pub fn host(&self) -> Result<HostPattern, DecodeError> {
        self.text().map(HostPattern::new)
    }

    /// The error for a value of the wrong type.
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
