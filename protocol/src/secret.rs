//! A piece of text that must never be shown: passwords, the payload key, broker credentials.
//!
//! Every layer of the agent holds such text in a [`Secret`], from the first byte read to the last byte sent. So
//! `{:?}` on any message, command or setting is always safe to log. The text is wiped from memory when dropped.
//! It deliberately has no `Serialize`: whoever writes it somewhere has to say [`Secret::expose`] in so many words.

use std::fmt;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// What `Debug` and `Display` show instead of the text.
const MASK: &str = "REDACTED";

/// Text that prints as `REDACTED` and is zeroed when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of the text; nothing of it is copied.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the one place that must send or write it.
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

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
    fn a_wrong_type_is_refused_without_showing_it() {
        assert!(serde_json::from_str::<Secret>("{\"nested\": \"hunter2\"}").is_err());
        assert!(serde_json::from_str::<Secret>("17").is_err());
    }
}
