//! What one layer says: values for some keys, each with the place it was read from.
//!
//! Every reader (`toml_file`, `oslo_files`, `environment`, the command line in `load`) ends in a fragment, and
//! `load` hands the fragments in order of precedence to the `config` crate, which merges them. A fragment only
//! holds known keys with values of the right kind. It never shows its values: some are secrets.

use std::collections::BTreeMap;
use std::fmt;

use ::config::{Map, Source, Value, ValueKind};

use super::error::ConfigError;
use super::keys::{self, Key, Kind};
use super::settings::no_broker::holds_a_password;

/// The origin of values that no layer set.
pub(super) const DEFAULT_ORIGIN: &str = "default";

/// The values of one layer.
#[derive(Clone, Default)]
pub(super) struct Fragment {
    values: BTreeMap<&'static str, Value>,
}

/// What was read of one layer, and every mistake in it.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) fragment: Fragment,
    pub(super) mistakes: Vec<ConfigError>,
}

impl Layer {
    /// A layer that can't be read at all.
    pub(super) fn unreadable(error: ConfigError) -> Self {
        Self { fragment: Fragment::default(), mistakes: vec![error] }
    }

    /// The fragment, if there is no mistake.
    pub(super) fn whole(self) -> Result<Fragment, ConfigError> {
        ConfigError::all(self.mistakes).map_or(Ok(self.fragment), Err)
    }
}

impl Fragment {
    /// The lowest layer.
    pub(super) fn defaults() -> Result<Self, ConfigError> {
        let mut fragment = Self::default();
        for key in keys::all() {
            if let Some(text) = key.default {
                fragment.read(key, DEFAULT_ORIGIN, text)?;
            }
        }
        Ok(fragment)
    }

    /// Sets `key` from the text form of its kind; a text that means "not set" changes nothing.
    pub(super) fn read(&mut self, key: &'static Key, origin: &str, text: &str) -> Result<(), ConfigError> {
        match key.kind.read(text) {
            Ok(Some(kind)) => self.set(key, origin, kind),
            Ok(None) => {}
            Err(advice) => {
                let problem = format!("cannot be {:?}", shortened(text));
                return Err(ConfigError::invalid(key, origin, problem, advice));
            }
        }
        Ok(())
    }

    /// Sets `key` to a value of its kind.
    pub(super) fn set(&mut self, key: &'static Key, origin: &str, kind: ValueKind) {
        self.values.insert(key.name, Value::new(Some(&origin.to_owned()), kind));
    }

    /// Whether a key of kind [`Kind::Secret`] is set to something that is worth hiding.
    pub(super) fn holds_a_secret(&self) -> bool {
        let mut set = keys::all().filter(|key| key.kind == Kind::Secret);
        set.any(|key| match self.values.get(key.name).map(|value| &value.kind) {
            Some(ValueKind::String(text)) if key.name == "broker.transport_url" => holds_a_password(text),
            Some(_) => true,
            None => false,
        })
    }
}

/// Enough of a value to recognise it. Only kinds that have a syntax fail to be read, so it is no secret.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Source for Fragment {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        Ok(self.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn debug_shows_keys_and_no_values() {
        let mut fragment = Fragment::default();
        let key = keys::find("guest.encryption_key").unwrap();
        fragment.read(key, "a test", "planted-secret").unwrap();
        assert_eq!(format!("{fragment:?}"), r#"{"guest.encryption_key"}"#);
        assert!(fragment.holds_a_secret());
    }

    #[test]
    fn a_value_of_the_wrong_kind_names_place_key_value_and_remedy() {
        let key = keys::find("rpc.max_concurrent").unwrap();
        let error = Fragment::default().read(key, "somewhere", "many").unwrap_err();
        assert_eq!(
            error.to_string(),
            "somewhere: rpc.max_concurrent cannot be \"many\"; write a whole number, such as 16"
        );
    }

    #[test]
    fn every_default_has_the_kind_of_its_key() {
        let defaults = Fragment::defaults().unwrap();
        for key in keys::all().filter(|key| key.default.is_some()) {
            assert!(defaults.values.contains_key(key.name), "{}", key.name);
        }
    }
}
