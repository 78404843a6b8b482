//! The merged layers: one value per key with the place it came from, and typed access to them.
//!
//! The type of a setting says how its key is read ([`Setting`]), the row of the key which range it must lie in. The
//! readers make the errors, so every refusal names its origin in the same words.

use std::fmt::Display;
use std::mem::take;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, TryFromFloatSecsError};

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, Value, ValueKind};
use serde::de::DeserializeOwned;
use trove_couchdb_protocol::{secret::Secret, text};

use crate::error::Mistake;
use crate::key::Kind;
use crate::layer::{DEFAULT_ORIGIN, Layers, Warning};

/// The home directory when `HOME` is not set: systemd sets it for every service but those of root.
const ROOT_HOME: &str = "/root";

/// All values, before they are judged.
pub(crate) struct Inputs {
    merged: Config,
    warnings: Vec<Warning>,
    home: PathBuf,
}

impl Inputs {
    /// Merges the layers. That this fails is one more of their mistakes.
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

    /// What the operator should hear about the layers.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.iter().map(|(_, text)| text.clone()).collect()
    }

    /// The value of a key with its origin, if any layer sets it.
    pub(crate) fn found(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.merged.cache, |value, name| match &value.kind {
            ValueKind::Table(table) => table.get(name),
            _ => None,
        })
    }

    /// Where the value of a key came from.
    pub(crate) fn origin(&self, key: &str) -> &str {
        self.found(key).and_then(Value::origin).unwrap_or(DEFAULT_ORIGIN)
    }

    /// The error for a value that has the right type and still will not do; never put a secret into `problem`.
    pub(crate) fn invalid(
        &self,
        key: &'static str,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) -> Mistake {
        let origin = self.origin(key).to_owned();
        Mistake::Invalid { origin, key, problem: problem.into(), advice: advice.into() }
    }

    /// The same error unless the value `holds` what is asked of it.
    pub(crate) fn ensure(
        &self,
        holds: bool,
        key: &'static str,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) -> Result<(), Mistake> {
        if holds { Ok(()) } else { Err(self.invalid(key, problem, advice)) }
    }

    /// The error for a key that has no default and that no layer sets.
    pub(crate) fn missing(&self, key: &'static str, advice: &str) -> Mistake {
        let elsewhere = self.warnings.iter().find(|(misplaced, _)| *misplaced == Some(key));
        let advice = elsewhere.map_or(advice, |(_, text)| text);
        Mistake::Missing { key, advice: advice.to_owned(), misplaced: elsewhere.is_some() }
    }

    fn required<T>(&self, key: &'static str, value: Option<T>) -> Result<T, Mistake> {
        value.ok_or_else(|| self.missing(key, "set it in the TOML file; docs/configuration.md describes it"))
    }

    /// A value that must be set, as `config` reads it; a layer has seen to it that it has the right type.
    fn typed<T: DeserializeOwned>(&self, key: &'static str) -> Result<T, Mistake> {
        self.required(key, self.merged.get(key).ok())
    }

    /// A value of a type that has no limits.
    pub(crate) fn get<T: Setting<Range = ()>>(&self, key: &'static str) -> Result<T, Mistake> {
        T::read(self, key, ())
    }

    /// A value within a range.
    pub(crate) fn get_in<T: Setting>(&self, key: &'static str, range: T::Range) -> Result<T, Mistake> {
        T::read(self, key, range)
    }

    /// A text; an empty one counts as not set.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match &self.found(key)?.kind {
            ValueKind::String(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// A text that must be set.
    pub(crate) fn required_text(&self, key: &'static str) -> Result<&str, Mistake> {
        self.required(key, self.text(key))
    }

    /// One of a few words, in either case.
    pub(crate) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Result<T, Mistake> {
        let text = self.required_text(key)?;
        let chosen = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.invalid(key, format!("cannot be {text:?}"), format!("write {}", words.join(" or ")))
        })
    }

    /// A number within `range`, which layers write as an `N`; `what` it is.
    fn number<N, T>(&self, key: &'static str, range: &RangeInclusive<T>, what: &str) -> Result<T, Mistake>
    where
        N: DeserializeOwned + Display + Copy,
        T: TryFrom<N> + PartialOrd + Display,
    {
        let value: N = self.typed(key)?;
        let within = T::try_from(value).ok().filter(|value| range.contains(value));
        let advice = || format!("write a {what} from {} to {}", range.start(), range.end());
        within.ok_or_else(|| self.invalid(key, format!("cannot be {value}"), advice()))
    }
}

/// What the value of a key is read as.
pub(crate) trait Setting: Sized {
    /// How a layer's text is read.
    const KIND: Kind;
    /// What limits it; `()` if nothing does.
    type Range;
    fn read(inputs: &Inputs, key: &'static str, range: Self::Range) -> Result<Self, Mistake>;
}

macro_rules! setting {
    ($($type:ty: $kind:ident, $range:ty, |$inputs:ident, $key:ident, $limits:pat_param| $read:expr;)+) => {$(
        impl Setting for $type {
            const KIND: Kind = Kind::$kind;
            type Range = $range;
            fn read($inputs: &Inputs, $key: &'static str, $limits: $range) -> Result<Self, Mistake> {
                $read
            }
        }
    )+};
}

setting! {
    bool: Flag, (), |inputs, key, ()| inputs.typed(key);
    String: Text, (), |inputs, key, ()| inputs.required_text(key).map(str::to_owned);
    Option<Secret>: Secret, (), |inputs, key, ()| {
        Ok(inputs.text(key).map(text::secret).filter(|secret| !secret.is_empty()).map(Secret::new))
    };
    Vec<String>: List, (), |inputs, key, ()| inputs.typed(key);
    // Absolute, or below the home directory and written as `~/…`.
    PathBuf: Path, (), |inputs, key, ()| {
        let text = inputs.required_text(key)?;
        let path = text.strip_prefix("~/").map_or_else(|| Self::from(text), |below| inputs.home.join(below));
        let advice = "write a path that begins with / or ~/";
        inputs.ensure(path.is_absolute(), key, format!("cannot be {text:?}"), advice)?;
        Ok(path)
    };
    f64: Fraction, RangeInclusive<Self>, |inputs, key, range| inputs.number::<Self, _>(key, &range, "fraction");
    Duration: Seconds, RangeInclusive<f64>, |inputs, key, range| {
        let seconds = inputs.number::<f64, _>(key, &range, "number of seconds")?;
        let refused = |error: TryFromFloatSecsError| {
            inputs.invalid(key, error.to_string(), "write a number of seconds")
        };
        Self::try_from_secs_f64(seconds).map_err(refused)
    };
    u16: Count, RangeInclusive<Self>, |inputs, key, range| inputs.number::<i64, _>(key, &range, "whole number");
    u32: Count, RangeInclusive<Self>, |inputs, key, range| inputs.number::<i64, _>(key, &range, "whole number");
    u64: Count, RangeInclusive<Self>, |inputs, key, range| inputs.number::<i64, _>(key, &range, "whole number");
    usize: Count, RangeInclusive<Self>, |inputs, key, range| inputs.number::<i64, _>(key, &range, "whole number");
}

/// What need not be set.
impl<T: Setting<Range = ()>> Setting for Option<T> {
    const KIND: Kind = T::KIND;
    type Range = ();
    fn read(inputs: &Inputs, key: &'static str, (): ()) -> Result<Self, Mistake> {
        inputs.text(key).map(|_| inputs.get(key)).transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Inputs with one key set, as if by a file called `f`.
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
        let error = u16::read(&inputs, "broker.prefetch", 1..=65535).unwrap_err();
        assert_eq!(error.to_string(), "f: broker.prefetch cannot be 0; write a whole number from 1 to 65535");
    }

    #[test]
    fn seconds_may_have_a_fraction_and_no_nonsense() {
        let seconds = |number: f64| {
            let key = "rpc.shutdown_grace";
            Duration::read(&with(key, number), key, 0.0..=60.0)
        };
        assert_eq!(seconds(0.25).unwrap(), Duration::from_millis(250));
        for bad in [-1.0, 61.0, f64::NAN, f64::INFINITY] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_absolute_or_below_the_home_directory() {
        let key = "guest.state_dir";
        let path = |text: &str| Option::<PathBuf>::read(&with(key, text), key, ());
        assert_eq!(path("~/x").unwrap(), Some("/home/agent/x".into()));
        assert_eq!(path("/x").unwrap(), Some("/x".into()));
        assert_eq!(path("").unwrap(), None);
        let error = path("x").unwrap_err().to_string();
        assert_eq!(error, "f: guest.state_dir cannot be \"x\"; write a path that begins with / or ~/");
    }

    #[test]
    fn a_choice_lists_its_words() {
        let choose = |text: &str| with("log.format", text).choice("log.format", &[("a", 1), ("b", 2)]);
        assert_eq!(choose("B").unwrap(), 2);
        assert_eq!(choose("c").unwrap_err().to_string(), "f: log.format cannot be \"c\"; write a or b");
    }

    #[test]
    fn without_home_the_agent_is_taken_for_a_service_of_root() {
        let key = "couchdb.credentials_file";
        let inputs = of(key, "~/c", None);
        assert_eq!(inputs.get::<Option<PathBuf>>(key).unwrap(), Some("/root/c".into()));
    }
}
