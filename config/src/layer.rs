//! What one layer says: values for some keys, each with the place it was read from, and every mistake in it.
//!
//! Every reader (`layers`, the command line in `load`) ends in a layer. Its values are a source of the `config` crate,
//! which merges them in `inputs`. A layer only holds known keys with values of the right kind.

use std::fmt;

use config::{Map, Source, Value, ValueKind};

use crate::error::Mistake;
use crate::key::Key;

/// The origin of values that no layer set.
pub(crate) const DEFAULT_ORIGIN: &str = "default";

/// By `section.name`, each with where it stands. It never shows them: some are secrets.
#[derive(Clone, Default)]
pub(crate) struct Values(pub(crate) Map<String, Value>);

/// What the operator should hear about a layer, and the key that it sets where nobody reads it, if it is about one.
pub(crate) type Warning = (Option<&'static str>, String);

/// What was read of one layer.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) values: Values,
    pub(crate) mistakes: Vec<Mistake>,
    pub(crate) warnings: Vec<Warning>,
}

impl Layer {
    /// A layer that can't be read at all.
    pub(crate) fn unreadable(error: Mistake) -> Self {
        Self { mistakes: vec![error], ..Self::default() }
    }

    /// Sets `key` from the text form of its kind; a text that means "not set" changes nothing.
    pub(crate) fn read(&mut self, key: &Key, origin: &str, text: &str) {
        match key.kind.read(text) {
            Ok(Some(value)) => self.set(key, origin, value),
            Ok(None) => {}
            Err(advice) => {
                // Enough to recognise it. Only kinds that have a syntax fail to be read, so it is no secret.
                let shown: String = text.chars().take(40).collect();
                self.mistakes.push(Mistake::invalid(
                    key.name,
                    origin,
                    format!("cannot be {shown:?}"),
                    advice,
                ));
            }
        }
    }

    /// Sets `key` to a value of its kind.
    pub(crate) fn set(&mut self, key: &Key, origin: &str, value: ValueKind) {
        self.values.0.insert(key.name.to_owned(), Value::new(Some(&origin.to_owned()), value));
    }

    /// The values, if there is no mistake.
    #[cfg(test)]
    pub(crate) fn whole(self) -> Result<Values, Mistake> {
        if self.mistakes.is_empty() { Ok(self.values) } else { Err(Mistake::all(self.mistakes)) }
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Source for Values {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys;

    #[test]
    fn debug_shows_keys_and_no_values() {
        let mut layer = Layer::default();
        let key = keys::find("guest.encryption_key").unwrap();
        layer.read(key, "a test", "planted-secret");
        assert_eq!(format!("{:?}", layer.values), r#"{"guest.encryption_key"}"#);
        assert!(keys::hold_a_secret(&layer.values));
        assert!(!format!("{layer:?}").contains("planted"));
    }

    #[test]
    fn a_value_of_the_wrong_kind_names_place_key_value_and_remedy() {
        let mut layer = Layer::default();
        layer.read(keys::find("rpc.max_concurrent").unwrap(), "somewhere", "many");
        assert_eq!(
            layer.whole().unwrap_err().to_string(),
            "somewhere: rpc.max_concurrent cannot be \"many\"; write a whole number, such as 16"
        );
    }

    #[test]
    fn every_default_has_the_kind_of_its_key() {
        let defaults = keys::defaults().whole().unwrap();
        for key in keys::all().filter(|key| key.default.is_some()) {
            assert!(defaults.0.contains_key(key.name), "{}", key.name);
        }
    }
}
