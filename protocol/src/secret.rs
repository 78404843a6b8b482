//! Text that must never be shown: passwords, the payload key, broker credentials.
//!
//! Every layer of the agent keeps such text in a [`Secret`], so `{:?}` of any message, command or setting is
//! safe to log. The text is wiped from memory when dropped. There is deliberately no `Serialize`: code that
//! writes a secret has to call [`Secret::expose`].

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

/// Replaces the text in `Debug` and `Display`.
const MASK: &str = "REDACTED";

/// Text that prints as `REDACTED` and is zeroed when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of the text without copying it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the code that sends or writes it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(MASK)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// A JSON object that may contain passwords anywhere. All its texts are zeroed when it is dropped, and
/// `Debug` shows only its keys.
#[derive(Clone, PartialEq, Default)]
pub struct SecretMap(Map<String, Value>);

impl From<Map<String, Value>> for SecretMap {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

impl FromIterator<(String, Value)> for SecretMap {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl Deref for SecretMap {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for SecretMap {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl fmt::Debug for SecretMap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.keys()).finish()
    }
}

impl Drop for SecretMap {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

/// Zeroes all texts in a value and keeps its structure.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(entries) => entries.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    /// Mutation: secret-is-shown (docs/guarantees.md).
    #[test]
    fn neither_debug_nor_display_shows_the_text() {
        #[derive(Debug)]
        struct Login {
            #[allow(dead_code)]
            password: Option<Secret>,
        }
        let login = Login { password: Some(Secret::new("hunter2")) };
        assert_eq!(format!("{login:?}"), "Login { password: Some(REDACTED) }");
        assert_eq!(format!("{login:#?}").matches("hunter2").count(), 0);
        assert_eq!(Secret::new("hunter2").to_string(), "REDACTED");
    }

    #[test]
    fn exposing_is_the_only_way_out() {
        let secret: Secret = serde_json::from_str("\"p\\u00e4ss\"").unwrap();
        assert_eq!(secret.expose(), "päss");
        assert_eq!(secret, Secret::new("päss"));
        assert_ne!(secret, Secret::new("pass"));
    }

    #[test]
    fn a_secret_is_of_a_type_that_is_wiped() {
        fn is_wiped(_: &impl zeroize::ZeroizeOnDrop) {}
        is_wiped(&Secret::new("hunter2").0);
    }

    #[test]
    fn no_text_of_a_value_outlives_it() {
        let mut value = serde_json::json!({"a": "hunter2", "b": [{"c": ["hunter2", 1, null]}], "d": true});
        wipe(&mut value);
        assert_eq!(value, serde_json::json!({"a": "", "b": [{"c": ["", 1, null]}], "d": true}));
        let map: SecretMap = [("password".to_owned(), Value::from("hunter2"))].into_iter().collect();
        assert_eq!(format!("{map:?}"), r#"["password"]"#);
    }

    #[test]
    fn a_wrong_type_is_refused_without_showing_it() {
        assert!(serde_json::from_str::<Secret>("{\"nested\": \"hunter2\"}").is_err());
        assert!(serde_json::from_str::<Secret>("17").is_err());
    }
}
