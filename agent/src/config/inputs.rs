//! The merged layers: one value per key with the place it came from, and typed access to them.
//!
//! Each settings section reads its part through a [`Section`] and says there which range a value must lie in.
//! The getters make the errors, so every refusal names its origin in the same words.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ::config::{Map, Value, ValueKind};
use trove_couchdb_protocol::{secret::Secret, text};

use super::error::ConfigError;
use super::fragment::DEFAULT_ORIGIN;
use super::keys::{self, Key};

/// The home directory when `HOME` is not set: systemd sets it for every service but those of root.
const ROOT_HOME: &str = "/root";

/// All values, before they are judged.
pub(super) struct Inputs {
    values: Map<String, Value>,
    home: PathBuf,
    pub(super) warnings: Vec<String>,
    /// Options that stand where nobody reads them, and what to do about each.
    pub(super) misplaced: Vec<(&'static Key, String)>,
    /// What is wrong with the layers themselves.
    pub(super) mistakes: Vec<ConfigError>,
}

/// In the place of what is missing, so that the rest can be looked at.
const STAND_INS: [(&str, &str); 2] =
    [("guest.id", "stand-in"), ("broker.transport_url", "rabbit://stand-in")];

impl Inputs {
    /// Takes the table of sections that the merge produced.
    pub(super) fn new(sections: Map<String, Value>, home: Option<PathBuf>) -> Self {
        let mut values = Map::new();
        for (section, value) in sections {
            if let ValueKind::Table(table) = value.kind {
                values.extend(table.into_iter().map(|(leaf, value)| (format!("{section}.{leaf}"), value)));
            }
        }
        Self {
            values,
            home: home.unwrap_or_else(|| ROOT_HOME.into()),
            warnings: Vec::new(),
            misplaced: Vec::new(),
            mistakes: Vec::new(),
        }
    }

    /// Puts something sound in the place of what an error is about, so that what else is wrong comes to light; false if
    /// that can't be done.
    pub(super) fn make_sound(&mut self, error: &ConfigError) -> bool {
        match error {
            ConfigError::Invalid { key, .. } => {
                let before = self.values.remove(*key);
                let was_default = before
                    .as_ref()
                    .is_none_or(|value| value.origin().unwrap_or(DEFAULT_ORIGIN) == DEFAULT_ORIGIN);
                let key = keys::find(key);
                let default = key.and_then(|key| key.kind.read(key.default?).ok().flatten());
                if let (Some(key), Some(kind)) = (key, default) {
                    self.values.insert(key.name.to_owned(), Value::new(None, kind));
                }
                self.stand_in_for(key.map_or("", |key| key.name));
                !was_default
            }
            ConfigError::Missing { key, .. } => self.stand_in_for(key),
            _ => false,
        }
    }

    /// The id is judged before the URL, so with a stand-in for that one it is no further mistake.
    fn stand_in_for(&mut self, key: &str) -> bool {
        let Some(last) = STAND_INS.iter().position(|(name, _)| *name == key) else { return false };
        for (name, text) in STAND_INS.iter().take(last + 1) {
            self.values.entry((*name).to_owned()).or_insert_with(|| Value::new(None, *text));
        }
        true
    }

    pub(super) fn section(&self, name: &'static str) -> Section<'_> {
        Section { name, inputs: self }
    }

    /// The value of a key, if any layer sets it.
    pub(super) fn get(&self, key: &Key) -> Option<&Value> {
        self.values.get(key.name)
    }
}

/// The keys that begin with `name.`.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    name: &'static str,
    inputs: &'a Inputs,
}

impl Section<'_> {
    /// The section's own name.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    fn key(&self, leaf: &str) -> Result<&'static Key, ConfigError> {
        let name = format!("{}.{leaf}", self.name);
        keys::find(&name).ok_or_else(|| ConfigError::Missing {
            key: name,
            advice: "and no such key exists; this is a defect of the agent".to_owned(),
            misplaced: false,
        })
    }

    fn value(&self, leaf: &str) -> Result<Option<&ValueKind>, ConfigError> {
        let key = self.key(leaf)?;
        Ok(self.inputs.get(key).map(|value| &value.kind))
    }

    /// Where the value of a key came from.
    pub(super) fn origin(&self, leaf: &str) -> &str {
        let value = self.key(leaf).ok().and_then(|key| self.inputs.get(key));
        value.and_then(Value::origin).unwrap_or(DEFAULT_ORIGIN)
    }

    /// The error for a value that has the right type and still will not do; never put a secret into `problem`.
    pub(super) fn invalid(
        &self,
        leaf: &str,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) -> ConfigError {
        match self.key(leaf) {
            Ok(key) => ConfigError::invalid(key, self.origin(leaf), problem, advice),
            Err(error) => error,
        }
    }

    /// The error for a key that has no default and that no layer sets.
    pub(super) fn missing(&self, leaf: &str, advice: &str) -> ConfigError {
        let key = format!("{}.{leaf}", self.name);
        let elsewhere = self.inputs.misplaced.iter().find(|(misplaced, _)| misplaced.name == key);
        let advice = elsewhere.map_or(advice, |(_, text)| text);
        ConfigError::Missing { key, advice: advice.to_owned(), misplaced: elsewhere.is_some() }
    }

    fn required<T>(&self, leaf: &str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| self.missing(leaf, "set it in the TOML file; docs/configuration.md describes it"))
    }

    pub(super) fn flag(&self, leaf: &str) -> Result<bool, ConfigError> {
        let value = match self.value(leaf)? {
            Some(ValueKind::Boolean(flag)) => Some(*flag),
            _ => None,
        };
        self.required(leaf, value)
    }

    /// A whole number within `range`.
    pub(super) fn count<T: TryFrom<i64>>(
        &self,
        leaf: &str,
        range: RangeInclusive<i64>,
    ) -> Result<T, ConfigError> {
        let value = match self.value(leaf)? {
            Some(ValueKind::I64(value)) => Some(*value),
            _ => None,
        };
        let value = self.required(leaf, value)?;
        let advice = || format!("write a whole number from {} to {}", range.start(), range.end());
        let within = range.contains(&value).then_some(value);
        within
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| self.invalid(leaf, format!("cannot be {value}"), advice()))
    }

    /// A length of time within `range`, in seconds.
    pub(super) fn seconds(&self, leaf: &str, range: RangeInclusive<f64>) -> Result<Duration, ConfigError> {
        let advice = format!("write a number of seconds from {} to {}", range.start(), range.end());
        let seconds = self.number(leaf, &range, &advice)?;
        Duration::try_from_secs_f64(seconds).map_err(|error| self.invalid(leaf, error.to_string(), advice))
    }

    /// A number within `range`.
    pub(super) fn fraction(&self, leaf: &str, range: RangeInclusive<f64>) -> Result<f64, ConfigError> {
        let advice = format!("write a fraction from {} to {}", range.start(), range.end());
        self.number(leaf, &range, &advice)
    }

    fn number(&self, leaf: &str, range: &RangeInclusive<f64>, advice: &str) -> Result<f64, ConfigError> {
        let value = match self.value(leaf)? {
            // Every range in use ends far below the 2^53 from which the conversion rounds.
            #[expect(clippy::cast_precision_loss)]
            Some(ValueKind::I64(whole)) => Some(*whole as f64),
            Some(ValueKind::Float(number)) => Some(*number),
            _ => None,
        };
        let value = self.required(leaf, value)?;
        if range.contains(&value) {
            return Ok(value);
        }
        Err(self.invalid(leaf, format!("cannot be {value}"), advice))
    }

    /// A text; an empty one counts as not set.
    pub(super) fn text(&self, leaf: &str) -> Result<Option<String>, ConfigError> {
        Ok(match self.value(leaf)? {
            Some(ValueKind::String(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        })
    }

    /// A text that must be set.
    pub(super) fn required_text(&self, leaf: &str) -> Result<String, ConfigError> {
        let value = self.text(leaf)?;
        self.required(leaf, value)
    }

    pub(super) fn secret(&self, leaf: &str) -> Result<Option<Secret>, ConfigError> {
        let text = self.text(leaf)?;
        let secret = text.as_deref().map(text::secret).filter(|secret| !secret.is_empty());
        Ok(secret.map(Secret::new))
    }

    /// An absolute path, or one below the home directory written as `~/…`.
    pub(super) fn path(&self, leaf: &str) -> Result<Option<PathBuf>, ConfigError> {
        let Some(text) = self.text(leaf)? else {
            return Ok(None);
        };
        let path = match text.strip_prefix("~/") {
            Some(below) => self.inputs.home.join(below),
            None => PathBuf::from(&text),
        };
        if path.is_absolute() {
            return Ok(Some(path));
        }
        Err(self.invalid(leaf, format!("cannot be {text:?}"), "write a path that begins with / or ~/"))
    }

    /// A path that must be set.
    pub(super) fn required_path(&self, leaf: &str) -> Result<PathBuf, ConfigError> {
        let value = self.path(leaf)?;
        self.required(leaf, value)
    }

    pub(super) fn list(&self, leaf: &str) -> Result<Vec<String>, ConfigError> {
        let value = match self.value(leaf)? {
            Some(ValueKind::Array(items)) => Some(items.iter().filter_map(|item| match &item.kind {
                ValueKind::String(text) => Some(text.clone()),
                _ => None,
            })),
            _ => None,
        };
        Ok(self.required(leaf, value)?.collect())
    }

    /// One of a few words, in either case.
    pub(super) fn choice<T: Copy>(&self, leaf: &str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let text = self.required_text(leaf)?;
        let chosen = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.invalid(leaf, format!("cannot be {text:?}"), format!("write {}", words.join(" or ")))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Inputs with one key set, as if by a file called `f`.
    fn with(name: &str, kind: impl Into<ValueKind>) -> Inputs {
        Inputs::new(sections(name, kind), Some("/home/agent".into()))
    }

    fn sections(name: &str, kind: impl Into<ValueKind>) -> Map<String, Value> {
        let (section, leaf) = name.split_once('.').unwrap();
        let table = Map::from_iter([(leaf.to_owned(), Value::new(Some(&"f".to_owned()), kind))]);
        Map::from_iter([(section.to_owned(), Value::new(None, table))])
    }

    #[test]
    fn a_count_outside_its_range_says_what_the_range_is() {
        let inputs = with("broker.prefetch", 0);
        let error = inputs.section("broker").count::<u16>("prefetch", 1..=65535).unwrap_err();
        assert_eq!(error.to_string(), "f: broker.prefetch cannot be 0; write a whole number from 1 to 65535");
    }

    #[test]
    fn seconds_may_have_a_fraction_and_no_nonsense() {
        let seconds = |number: f64| {
            with("rpc.shutdown_grace", number).section("rpc").seconds("shutdown_grace", 0.0..=60.0)
        };
        assert_eq!(seconds(0.25).unwrap(), Duration::from_millis(250));
        for bad in [-1.0, 61.0, f64::NAN, f64::INFINITY] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_absolute_or_below_the_home_directory() {
        let path = |text: &str| with("guest.state_dir", text).section("guest").path("state_dir");
        assert_eq!(path("~/x").unwrap(), Some("/home/agent/x".into()));
        assert_eq!(path("/x").unwrap(), Some("/x".into()));
        assert_eq!(path("").unwrap(), None);
        let error = path("x").unwrap_err().to_string();
        assert_eq!(error, "f: guest.state_dir cannot be \"x\"; write a path that begins with / or ~/");
    }

    #[test]
    fn a_choice_lists_its_words() {
        let choose =
            |text: &str| with("log.format", text).section("log").choice("format", &[("a", 1), ("b", 2)]);
        assert_eq!(choose("B").unwrap(), 2);
        assert_eq!(choose("c").unwrap_err().to_string(), "f: log.format cannot be \"c\"; write a or b");
    }

    #[test]
    fn without_home_the_agent_is_taken_for_a_service_of_root() {
        let inputs = Inputs::new(sections("couchdb.credentials_file", "~/c"), None);
        let path = inputs.section("couchdb").path("credentials_file").unwrap();
        assert_eq!(path, Some("/root/c".into()));
    }
}
