//! Values for some options, each of which is known and in range.

use std::collections::{BTreeMap, btree_map::Entry};

use serde_json::Value;
use trove_couchdb_protocol::Quoted;

use crate::{
    ServerVersion,
    configuration::{error::OptionError, forbidden, option::ConfigOption, table},
};

/// Options with their values, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<&'static str, (&'static ConfigOption, String)>);

impl Values {
    /// Adds an option; `quoted` is its name as an error may repeat it.
    ///
    /// # Errors
    /// The option is unknown, forbidden or set already, or the value is not one of its values.
    pub fn add(&mut self, name: &str, text: &str, quoted: Quoted) -> Result<(), OptionError> {
        let option = named(name, quoted)?;
        let wrong = |expected| OptionError::WrongValue { option: option.name, expected };
        let value = option.value(text).map_err(wrong)?;
        match self.0.entry(option.name) {
            Entry::Occupied(entry) if entry.get().1 != value => Err(OptionError::Twice(option.name)),
            Entry::Occupied(_) => Ok(()),
            Entry::Vacant(entry) => {
                entry.insert((option, value));
                Ok(())
            }
        }
    }

    /// The same with a JSON value: Trove sends numbers and booleans as such.
    ///
    /// # Errors
    /// As with [`Values::add`].
    pub fn add_json(&mut self, name: &str, value: &Value, quoted: Quoted) -> Result<(), OptionError> {
        match value {
            Value::String(text) => self.add(name, text, quoted),
            Value::Bool(_) | Value::Number(_) => self.add(name, &value.to_string(), quoted),
            _ => {
                let option = named(name, quoted)?;
                Err(OptionError::WrongValue { option: option.name, expected: option.kind.expected() })
            }
        }
    }

    /// The options and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static ConfigOption, &str)> {
        self.0.values().map(|(option, value)| (*option, value.as_str()))
    }

    /// The value of an option.
    pub fn get(&self, option: &ConfigOption) -> Option<&str> {
        self.0.get(option.name).map(|(_, value)| value.as_str())
    }

    /// Takes an option out. True if it was there.
    pub fn remove(&mut self, option: &ConfigOption) -> bool {
        self.0.remove(option.name).is_some()
    }

    /// Adds other values, which replace those of the same options.
    pub fn replace_with(&mut self, others: &Self) {
        self.0.extend(others.0.iter().map(|(name, value)| (*name, value.clone())));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every option has an effect on this version.
    ///
    /// # Errors
    /// The first that has none.
    pub fn are_for(&self, version: ServerVersion) -> Result<(), OptionError> {
        match self.iter().find(|(option, _)| !option.is_of(version)) {
            None => Ok(()),
            Some((option, _)) => {
                let versions = match option.until {
                    Some(until) => format!("versions from {} to before {until}", option.since),
                    None => format!("{} and later", option.since),
                };
                Err(OptionError::WrongVersion { option: option.name, version, versions })
            }
        }
    }
}

/// The option of this name; `quoted` is the name as an error may repeat it.
///
/// # Errors
/// There is none, or it may not be set.
pub fn named(name: &str, quoted: Quoted) -> Result<&'static ConfigOption, OptionError> {
    if let Some(option) = table::options().find(|option| option.is_called(name)) {
        return Ok(option);
    }
    match forbidden::reason(name) {
        Some((name, reason)) => Err(OptionError::Forbidden { name: name.to_owned(), reason }),
        None => Err(OptionError::Unknown(quoted)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn one(name: &str, value: &Value) -> Result<String, String> {
        let mut values = Values::default();
        let added = values.add_json(name, value, name.into());
        added
            .map(|()| values.iter().map(|(_, value)| value.to_owned()).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_what_trove_and_a_command_line_send() {
        assert_eq!(one("chttpd_auth.timeout", &json!(1200)).unwrap(), "1200");
        assert_eq!(one("chttpd_auth.timeout", &json!(" 1200 ")).unwrap(), "1200");
        assert_eq!(one("chttpd.require_valid_user", &json!(true)).unwrap(), "true");
        assert_eq!(one("couch_httpd_auth.timeout", &json!(1200)).unwrap(), "1200", "its name before 3.2");
        for (name, wrong) in [
            ("chttpd_auth.timeout", json!(0)),
            ("chttpd_auth.timeout", json!("+5")),
            ("chttpd_auth.timeout", json!(1.5)),
            ("chttpd_auth.timeout", json!(true)),
            ("chttpd_auth.timeout", json!(null)),
            ("chttpd.require_valid_user", json!("yes")),
            ("chttpd.require_valid_user", json!(["true"])),
            ("log.level", json!("loud")),
            ("log.level", json!({})),
        ] {
            let error = one(name, &wrong).unwrap_err();
            assert!(error.starts_with(&format!("{name} must be ")), "{error}");
        }
    }

    #[test]
    fn what_may_not_be_set_says_why_and_an_unknown_name_is_not_repeated_if_it_is_sealed() {
        for (name, begin) in [
            ("admins.root", "admins can't be set: "),
            ("query_servers.javascript", "query_servers can't be set: "),
            ("chttpd_auth.secret", "chttpd_auth.secret can't be set: "),
            ("couch_httpd_auth.secret", "couch_httpd_auth.secret can't be set: "),
            ("chttpd.port", "chttpd.port can't be set: "),
            ("log.levels", "there is no option \"log.levels\""),
            ("nonsense", "there is no option \"nonsense\""),
        ] {
            let error = one(name, &json!("x")).unwrap_err();
            assert!(error.starts_with(begin), "{error}");
        }
        let sealed = Quoted::new("a-recorded-password", trove_couchdb_protocol::Disclosure::Sealed);
        let error = Values::default().add("a-recorded-password", "x", sealed).unwrap_err().to_string();
        assert!(!error.contains("recorded"), "{error}");
    }

    #[test]
    fn an_option_is_for_some_versions() {
        let mut values = Values::default();
        values.add("chttpd_auth_lockout.threshold", "9", "".into()).unwrap();
        assert!(values.are_for(ServerVersion { major: 3, minor: 5 }).is_ok());
        let error = values.are_for(ServerVersion { major: 3, minor: 3 }).unwrap_err().to_string();
        assert_eq!(
            error,
            "chttpd_auth_lockout.threshold has no effect on CouchDB 3.3: it is for 3.4 and later"
        );
    }
}
