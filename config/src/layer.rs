//! What one layer says: values for some keys, each with the place it was read from, and every mistake in it.
//!
//! Every reader (`layers`, the command line in `load`) ends in a layer, and `load` merges them in order of precedence.
//! A layer only holds known keys with values of the right kind. It never shows its values: some are secrets.

use std::collections::BTreeMap;
use std::fmt;

use toml::Value;

use crate::error::Mistake;
use crate::key::Key;

/// The origin of values that no layer set.
pub(crate) const DEFAULT_ORIGIN: &str = "default";

/// A value and where it stands.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) value: Value,
    pub(crate) origin: String,
}

/// By `section.name`.
pub(crate) type Values = BTreeMap<&'static str, Found>;

/// What was read of one layer, or of several that were merged.
#[derive(Default)]
pub(crate) struct Layer {
    pub(crate) values: Values,
    pub(crate) mistakes: Vec<Mistake>,
    /// What the operator should hear about it.
    pub(crate) warnings: Vec<String>,
    /// Known options in sections where nobody reads them: the key, and a sentence.
    pub(crate) misplaced: Vec<(&'static str, String)>,
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
    pub(crate) fn set(&mut self, key: &Key, origin: &str, value: Value) {
        self.values.insert(key.name, Found { value, origin: origin.to_owned() });
    }

    /// Puts a layer of higher precedence over this one.
    pub(crate) fn extend(&mut self, higher: Self) {
        self.values.extend(higher.values);
        self.mistakes.extend(higher.mistakes);
        self.warnings.extend(higher.warnings);
        self.misplaced.extend(higher.misplaced);
    }

    /// The values, if there is no mistake.
    #[cfg(test)]
    pub(crate) fn whole(self) -> Result<Values, Mistake> {
        if self.mistakes.is_empty() { Ok(self.values) } else { Err(Mistake::all(self.mistakes)) }
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
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
        assert_eq!(format!("{layer:?}"), r#"{"guest.encryption_key"}"#);
        assert!(keys::hold_a_secret(&layer.values));
        assert!(!format!("{:?}", layer.values).contains("planted"));
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
            assert!(defaults.contains_key(key.name), "{}", key.name);
        }
    }
}
