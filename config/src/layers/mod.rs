//! The content of the layers: values for known keys, each with its origin, and all mistakes.
//!
//! The readers, one module per kind of source, and the command line in `load` fill it from the lowest layer
//! to the highest. `inputs` merges it with the `config` crate. It only contains known keys with values of the
//! right kind. It has no `Debug`, because some values are secrets.

pub(crate) mod environment;
pub(crate) mod oslo_files;
pub(crate) mod oslo_ini;
mod oslo_template;
pub(crate) mod toml_file;

use config::{Value, ValueKind};

use crate::error::Mistake;
use crate::key::Key;

/// The origin of default values.
pub(crate) const DEFAULT_ORIGIN: &str = "default";

/// A warning for the operator. If it is about a key that is set where it is not read, the key.
pub(crate) type Warning = (Option<&'static str>, String);

/// A key that has an old name was set.
pub(crate) struct Renamed {
    pub(crate) key: &'static str,
    pub(crate) is_old: bool,
    pub(crate) origin: String,
}

/// Everything read so far.
#[derive(Default)]
pub(crate) struct Layers {
    /// By `section.name`, each with its origin; later values override earlier ones.
    pub(crate) values: Vec<(&'static str, Value)>,
    pub(crate) mistakes: Vec<Mistake>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) renamed: Vec<Renamed>,
}

impl Layers {
    /// Sets `key` from the text form of its kind. A text that means "not set" is ignored.
    pub(crate) fn read(&mut self, key: &'static Key, origin: &str, text: &str) {
        match key.kind.read(text) {
            Ok(Some(value)) => self.set(key, origin, value),
            Ok(None) => {}
            Err(advice) => {
                // Long enough to recognise. Only kinds with a syntax can fail, so the text is not a secret.
                let shown: String = text.chars().take(40).collect();
                self.refuse(key, origin, format!("cannot be {shown:?}"), advice);
            }
        }
    }

    /// Sets `key` to a value of its kind.
    pub(crate) fn set(&mut self, key: &'static Key, origin: &str, value: ValueKind) {
        self.values.push((key.name, Value::new(Some(&origin.to_owned()), value)));
    }

    /// Records an invalid value for `key`. `problem` must not contain a secret.
    pub(crate) fn refuse(&mut self, key: &Key, origin: &str, problem: impl Into<String>, advice: &str) {
        let (origin, problem, advice) = (origin.to_owned(), problem.into(), advice.to_owned());
        self.mistakes.push(Mistake::Invalid { origin, key: key.name, problem, advice });
    }

    /// The effective value of `key` so far.
    pub(crate) fn last(&self, key: &str) -> Option<&Value> {
        self.values.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use crate::keys;

    #[test]
    fn every_default_has_the_kind_of_its_key() {
        let defaults = keys::defaults();
        assert!(defaults.mistakes.is_empty(), "{:?}", defaults.mistakes);
        for key in keys::all().filter(|key| key.default.is_some()) {
            assert!(defaults.last(key.name).is_some(), "{}", key.name);
        }
    }
}
