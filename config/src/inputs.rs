//! The merged layers: one value per key with its origin, and typed access to the values.
//!
//! The type of a setting determines how its key is read ([`Setting`]); the key's row determines its range.
//! The readers create the errors, so every refusal has the same form.

use std::fmt::Display;
use std::mem::take;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, Value, ValueKind};
use serde::de::DeserializeOwned;
use trove_couchdb_protocol::{secret::Secret, text};

use crate::error::Mistake;
use crate::key::Kind;
use crate::layers::{DEFAULT_ORIGIN, Layers, Warning};

/// The home directory if `HOME` is not set: systemd sets it for every service except root's.
const ROOT_HOME: &str = "/root";

/// All values, before validation.
pub(crate) struct Inputs {
    merged: Config,
    warnings: Vec<Warning>,
    home: PathBuf,
}

impl Inputs {
    /// Merges the layers. If that fails, the error is added to their mistakes.
    pub(crate) fn new(layers: &mut Layers, home: Option<PathBuf>) -> Self {
        let set = |values: ConfigBuilder<DefaultState>, (key, value)| values.set_override(key, value);
        let merged = take(&mut layers.values).into_iter().try_fold(Config::builder(), set);
        let merged = merged.and_then(ConfigBuilder::<DefaultState>::build).unwrap_or_else(|error| {
            layers.mistakes.push(error.into());
            Config::default()
        });
        let home = home.unwrap_or_else(|| ROOT_HOME.into());
        Self { merged, warnings: take(&mut layers.warnings), home }
    }

    /// The layers' warnings for the operator.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.iter().map(|(_, text)| text.clone()).collect()
    }

    /// Access to one key.
    pub(crate) fn entry(&self, key: &'static str) -> Entry<'_> {
        Entry { inputs: self, key }
    }
}

/// A key and the inputs.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) inputs: &'a Inputs,
    key: &'static str,
}

impl<'a> Entry<'a> {
    /// The value with its origin, if a layer sets it.
    pub(crate) fn found(self) -> Option<&'a Value> {
        self.key.split('.').try_fold(&self.inputs.merged.cache, |value, name| match &value.kind {
            ValueKind::Table(table) => table.get(name),
            _ => None,
        })
    }

    /// The origin of the value.
    pub(crate) fn origin(self) -> &'a str {
        self.found().and_then(Value::origin).unwrap_or(DEFAULT_ORIGIN)
    }

    /// The error for a value of the right type that is not allowed. `problem` must not contain a secret.
    pub(crate) fn invalid(self, problem: impl Into<String>, advice: impl Into<String>) -> Mistake {
        let (origin, problem, advice) = (self.origin().to_owned(), problem.into(), advice.into());
        Mistake::Invalid { origin, key: self.key, problem, advice }
    }

    /// Returns [`Self::invalid`] unless `holds`.
    pub(crate) fn ensure(self, holds: bool, problem: &str, advice: &str) -> Result<(), Mistake> {
        if holds { Ok(()) } else { Err(self.invalid(problem, advice)) }
    }

    /// The error for a required key that no layer sets.
    pub(crate) fn missing(self, advice: &str) -> Mistake {
        let elsewhere = self.inputs.warnings.iter().find(|(misplaced, _)| *misplaced == Some(self.key));
        let advice = elsewhere.map_or(advice, |(_, text)| text);
        Mistake::Missing { key: self.key, advice: advice.to_owned(), misplaced: elsewhere.is_some() }
    }

    fn required<T>(self, value: Option<T>) -> Result<T, Mistake> {
        value.ok_or_else(|| self.missing("set it in the TOML file; docs/configuration.md describes it"))
    }

    /// A required value as `config` reads it; the layers have checked its type.
    fn typed<T: DeserializeOwned>(self) -> Result<T, Mistake> {
        self.required(self.inputs.merged.get(self.key).ok())
    }

    /// A value of a type without a range.
    pub(crate) fn get<T: Setting<Range = ()>>(self) -> Result<T, Mistake> {
        T::read(self, ())
    }

    /// A value within a range.
    pub(crate) fn get_in<T: Setting>(self, range: T::Range) -> Result<T, Mistake> {
        T::read(self, range)
    }

    /// A text; an empty text counts as not set.
    pub(crate) fn text(self) -> Option<&'a str> {
        match &self.found()?.kind {
            ValueKind::String(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// A required text.
    pub(crate) fn required_text(self) -> Result<&'a str, Mistake> {
        self.required(self.text())
    }

    /// One of these words, in upper or lower case.
    pub(crate) fn choice<T: Copy>(self, choices: &[(&str, T)]) -> Result<T, Mistake> {
        let text = self.required_text()?;
        let chosen = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.invalid(format!("cannot be {text:?}"), format!("write {}", words.join(" or ")))
        })
    }

    /// A number within `range`. Layers store it as an `N`; `what` describes it in errors.
    fn number<N, T>(self, range: &RangeInclusive<T>, what: &str) -> Result<T, Mistake>
    where
        N: DeserializeOwned + Display + Copy,
        T: TryFrom<N> + PartialOrd + Display,
    {
        let value: N = self.typed()?;
        let within = T::try_from(value).ok().filter(|value| range.contains(value));
        let advice = || format!("write a {what} from {} to {}", range.start(), range.end());
        within.ok_or_else(|| self.invalid(format!("cannot be {value}"), advice()))
    }
}

/// A type that the value of a key can be read as.
pub(crate) trait Setting: Sized {
    /// The kind of the key's value.
    const KIND: Kind;
    /// The type of the key's range; `()` for none.
    type Range;
    fn read(entry: Entry<'_>, range: Self::Range) -> Result<Self, Mistake>;
}

macro_rules! setting {
    ($($($type:ty),+: $kind:ident, $range:ty, |$entry:ident, $limits:pat_param| $read:expr;)+) => {$($(
        impl Setting for $type {
            const KIND: Kind = Kind::$kind;
            type Range = $range;
            fn read($entry: Entry<'_>, $limits: $range) -> Result<Self, Mistake> {
                $read
            }
        }
    )+)+};
}

setting! {
    bool: Flag, (), |entry, ()| entry.typed();
    String: Text, (), |entry, ()| entry.required_text().map(str::to_owned);
    Option<Secret>: Secret, (), |entry, ()| {
        Ok(entry.text().map(text::secret).filter(|secret| !secret.is_empty()).map(Secret::new))
    };
    Vec<String>: List, (), |entry, ()| entry.typed();
    // Absolute, or written as `~/…` and relative to the home directory.
    PathBuf: Path, (), |entry, ()| {
        let text = entry.required_text()?;
        let below = text.strip_prefix("~/").map(|below| entry.inputs.home.join(below));
        let path = below.unwrap_or_else(|| text.into());
        let problem = format!("cannot be {text:?}");
        entry.ensure(path.is_absolute(), &problem, "write a path that begins with / or ~/")?;
        Ok(path)
    };
    f64: Fraction, RangeInclusive<Self>, |entry, range| entry.number::<Self, _>(&range, "fraction");
    Duration: Seconds, RangeInclusive<f64>, |entry, range| {
        let seconds = entry.number::<f64, _>(&range, "number of seconds")?;
        Self::try_from_secs_f64(seconds)
            .map_err(|error| entry.invalid(error.to_string(), "write a number of seconds"))
    };
    u16, u32, u64, usize: Count, RangeInclusive<Self>, |entry, range| {
        entry.number::<i64, _>(&range, "whole number")
    };
}

/// An optional setting.
impl<T: Setting<Range = ()>> Setting for Option<T> {
    const KIND: Kind = T::KIND;
    type Range = ();
    fn read(entry: Entry<'_>, (): ()) -> Result<Self, Mistake> {
        entry.text().map(|_| entry.get()).transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Inputs with one key set, with `f` as its origin.
    fn with(key: &'static str, value: impl Into<ValueKind>) -> Inputs {
        of(key, value, Some("/home/agent".into()))
    }

    fn of(key: &'static str, value: impl Into<ValueKind>, home: Option<PathBuf>) -> Inputs {
        let found = Value::new(Some(&"f".to_owned()), value);
        Inputs::new(&mut Layers { values: vec![(key, found)], ..Layers::default() }, home)
    }

    #[test]
    fn a_count_outside_its_range_says_what_the_range_is() {
        let inputs = with("broker.prefetch", 0);
        let error = inputs.entry("broker.prefetch").get_in::<u16>(1..=65535).unwrap_err();
        assert_eq!(error.to_string(), "f: broker.prefetch cannot be 0; write a whole number from 1 to 65535");
    }

    #[test]
    fn seconds_may_have_a_fraction_and_no_nonsense() {
        let seconds = |number: f64| {
            let key = "rpc.shutdown_grace";
            with(key, number).entry(key).get_in::<Duration>(0.0..=60.0)
        };
        assert_eq!(seconds(0.25).unwrap(), Duration::from_millis(250));
        for bad in [-1.0, 61.0, f64::NAN, f64::INFINITY] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_absolute_or_below_the_home_directory() {
        let key = "guest.state_dir";
        let path = |text: &str| with(key, text).entry(key).get::<Option<PathBuf>>();
        assert_eq!(path("~/x").unwrap(), Some("/home/agent/x".into()));
        assert_eq!(path("/x").unwrap(), Some("/x".into()));
        assert_eq!(path("").unwrap(), None);
        let error = path("x").unwrap_err().to_string();
        assert_eq!(error, "f: guest.state_dir cannot be \"x\"; write a path that begins with / or ~/");
    }

    #[test]
    fn a_choice_lists_its_words() {
        let choose = |text: &str| with("log.format", text).entry("log.format").choice(&[("a", 1), ("b", 2)]);
        assert_eq!(choose("B").unwrap(), 2);
        assert_eq!(choose("c").unwrap_err().to_string(), "f: log.format cannot be \"c\"; write a or b");
    }

    #[test]
    fn without_home_the_agent_is_taken_for_a_service_of_root() {
        let key = "couchdb.credentials_file";
        let inputs = of(key, "~/c", None);
        assert_eq!(inputs.entry(key).get::<Option<PathBuf>>().unwrap(), Some("/root/c".into()));
    }
}
