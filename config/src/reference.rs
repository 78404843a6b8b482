//! Every key in words, for the reference in `docs/configuration.md` (`make reference`).

use config::{Value, ValueKind};

use crate::key::Key;
use crate::settings::SECTIONS;

/// A section of the configuration.
#[derive(Debug)]
pub struct Section {
    /// Its name in the TOML file.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Its keys, in the order of the sample file.
    pub keys: Vec<Entry>,
}

/// A key.
#[derive(Debug)]
pub struct Entry {
    /// `section.name`.
    pub name: &'static str,
    /// The kind of its value.
    pub kind: &'static str,
    /// Its default as TOML writes it; `None` leaves the key unset.
    pub default: Option<String>,
    /// The environment variable that sets it.
    pub variable: String,
    /// Trove's options that set it, the current name first.
    pub options: Vec<String>,
    /// What it does.
    pub about: &'static str,
}

/// The whole table.
pub fn sections() -> Vec<Section> {
    let section = |&(name, about, keys): &(&'static str, &'static str, &'static [Key])| Section {
        name,
        about: about.trim_start(),
        keys: keys.iter().map(Entry::of).collect(),
    };
    SECTIONS.iter().map(section).collect()
}

impl Entry {
    fn of(key: &'static Key) -> Self {
        let options = key.oslo.iter().map(|(group, option)| format!("[{group}] {option}"));
        Self {
            name: key.name,
            kind: key.kind.describe(),
            default: default_of(key).and_then(in_toml),
            variable: key.environment_variable(),
            options: options.collect(),
            about: key.about(),
        }
    }
}

/// The default, or nothing for a key that has none.
pub(crate) fn default_of(key: &Key) -> Option<ValueKind> {
    key.kind.read(key.default?).ok().flatten()
}

fn in_toml(kind: ValueKind) -> Option<String> {
    Value::new(None, kind).try_deserialize::<toml::Value>().ok().map(|value| value.to_string())
}
