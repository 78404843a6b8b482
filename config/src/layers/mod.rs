//! What the layers say: values for known keys, each with the place it was read from, and every mistake in them.
//!
//! The readers, one module for each kind of place, and the command line in `load` add to it from the lowest layer to the
//! highest; `inputs` lets the `config` crate merge it. It only holds known keys with values of the right kind, and it has
//! no `Debug`, because some of them are secrets.

pub(crate) mod environment;
pub(crate) mod oslo_files;
pub(crate) mod oslo_ini;
mod oslo_template;
pub(crate) mod toml_file;

use config::{Value, ValueKind};

use crate::error::Mistake;
use crate::key::Key;

/// The origin of values that no layer set.
pub(crate) const DEFAULT_ORIGIN: &str = "default";

/// What the operator should hear about a layer, and the key that it sets where nobody reads it, if it is about one.
pub(crate) type Warning = (Option<&'static str>, String);

/// What was read so far.
#[derive(Default)]
pub(crate) struct Layers {
    /// By `section.name`, each with where it stands; a later one outranks those before it.
    pub(crate) values: Vec<(&'static str, Value)>,
    pub(crate) mistakes: Vec<Mistake>,
    pub(crate) warnings: Vec<Warning>,
}

impl Layers {
    /// Sets `key` from the text form of its kind; a text that means "not set" changes nothing.
    pub(crate) fn read(&mut self, key: &'static Key, origin: &str, text: &str) {
        match key.kind.read(text) {
            Ok(Some(value)) => self.set(key, origin, value),
            Ok(None) => {}
            Err(advice) => {
                // Enough to recognise it. Only kinds that have a syntax fail to be read, so it is no secret.
                let shown: String = text.chars().take(40).collect();
                self.refuse(key, origin, format!("cannot be {shown:?}"), advice);
            }
        }
    }

    /// Sets `key` to a value of its kind.
    pub(crate) fn set(&mut self, key: &'static Key, origin: &str, value: ValueKind) {
        self.values.push((key.name, Value::new(Some(&origin.to_owned()), value)));
    }

    /// Notes that what `origin` says of `key` will not do; never put a secret into `problem`.
    pub(crate) fn refuse(&mut self, key: &Key, origin: &str, problem: impl Into<String>, advice: &str) {
        let (origin, problem, advice) = (origin.to_owned(), problem.into(), advice.to_owned());
        self.mistakes.push(Mistake::Invalid { origin, key: key.name, problem, advice });
    }

    /// The value that counts for `key` so far.
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
