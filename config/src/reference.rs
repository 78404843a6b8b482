//! The description of every key, for the reference in `docs/configuration.md` (`make reference`).

use config::{Value, ValueKind};

use crate::key::Key;
use crate::keys;

/// A key of the configuration.
#[derive(Debug)]
pub struct KeyEntry {
    /// `section.name`.
    pub name: &'static str,
    /// The name of earlier versions, which is still accepted.
    pub was: Option<&'static str>,
    /// The section of the TOML file.
    pub section: &'static str,
    /// The kind of its value.
    pub kind: &'static str,
    /// The default in TOML; `None` if the key is unset by default.
    pub default: Option<String>,
    /// The environment variable of the key.
    pub variable: String,
    /// Trove's options for the key, the current name first.
    pub options: Vec<String>,
    /// The description.
    pub about: &'static str,
}

/// Every key, section by section.
pub fn entries() -> impl Iterator<Item = KeyEntry> {
    keys::all().map(|key| {
        let options = key.oslo.iter().map(|(group, option)| format!("[{group}] {option}"));
        KeyEntry {
            name: key.name,
            was: key.was,
            section: key.section(),
            kind: key.kind.describe(),
            default: default_of(key).and_then(in_toml),
            variable: key.environment_variable(),
            options: options.collect(),
            about: key.about(),
        }
    })
}

/// The default; `None` if the key has none.
pub(crate) fn default_of(key: &Key) -> Option<ValueKind> {
    key.kind.read(key.default?).ok().flatten()
}

fn in_toml(kind: ValueKind) -> Option<String> {
    Value::new(None, kind).try_deserialize::<toml::Value>().ok().map(|value| value.to_string())
}
