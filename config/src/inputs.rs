//! The merged layers: one value per key with the place it came from, and typed access to them.
//!
//! The type of a setting says how its key is read ([`Setting`]), the row of the key which range it must lie in. The
//! readers make the errors, so every refusal names its origin in the same words.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;
use trove_couchdb_protocol::{secret::Secret, text};

use crate::broker_url;
use crate::error::Mistake;
use crate::key::Kind;
use crate::layer::{DEFAULT_ORIGIN, Found, Layer, Values};

/// The home directory when `HOME` is not set: systemd sets it for every service but those of root.
const ROOT_HOME: &str = "/root";

/// In the place of what is missing, so that the rest can be looked at.
const STAND_INS: [(&str, &str); 2] = [("guest.id", "stand-in"), (broker_url::KEY, "rabbit://stand-in")];

/// All values, before they are judged.
pub(crate) struct Inputs {
    merged: Layer,
    defaults: Values,
    home: PathBuf,
}

impl Inputs {
    /// The layers as they were merged, over `defaults`.
    pub(crate) fn new(merged: Layer, defaults: Values, home: Option<PathBuf>) -> Self {
        Self { merged, defaults, home: home.unwrap_or_else(|| ROOT_HOME.into()) }
    }

    /// What is wrong with the layers themselves; the next time there is nothing.
    pub(crate) fn take_mistakes(&mut self) -> Vec<Mistake> {
        std::mem::take(&mut self.merged.mistakes)
    }

    /// What the operator should hear about the layers.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let misplaced = self.merged.misplaced.iter().map(|(_, text)| text);
        self.merged.warnings.iter().chain(misplaced).cloned().collect()
    }

    /// Puts something sound in the place of what an error is about, so that what else is wrong comes to light; false if
    /// that can't be done.
    pub(crate) fn make_sound(&mut self, error: &Mistake) -> bool {
        match error {
            Mistake::Invalid { key, .. } => {
                let was_default = self.origin(key) == DEFAULT_ORIGIN;
                match self.defaults.get(key) {
                    Some(default) => self.merged.values.insert(key, default.clone()),
                    None => self.merged.values.remove(key),
                };
                self.stand_in_for(key);
                !was_default
            }
            Mistake::Missing { key, .. } => self.stand_in_for(key),
            _ => false,
        }
    }

    /// The id is judged before the URL, so with a stand-in for that one it is no further mistake.
    fn stand_in_for(&mut self, key: &str) -> bool {
        let Some(last) = STAND_INS.iter().position(|(name, _)| *name == key) else { return false };
        for (name, text) in STAND_INS.iter().take(last + 1) {
            let stand_in = || Found { value: (*text).into(), origin: DEFAULT_ORIGIN.to_owned() };
            self.merged.values.entry(name).or_insert_with(stand_in);
        }
        true
    }

    /// The value of a key with its origin, if any layer sets it.
    pub(crate) fn found(&self, key: &str) -> Option<&Found> {
        self.merged.values.get(key)
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.found(key).map(|found| &found.value)
    }

    /// Where the value of a key came from.
    pub(crate) fn origin(&self, key: &str) -> &str {
        self.found(key).map_or(DEFAULT_ORIGIN, |found| &found.origin)
    }

    /// The error for a value that has the right type and still will not do; never put a secret into `problem`.
    pub(crate) fn invalid(
        &self,
        key: &'static str,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) -> Mistake {
        Mistake::invalid(key, self.origin(key), problem, advice)
    }

    /// The error for a key that has no default and that no layer sets.
    pub(crate) fn missing(&self, key: &'static str, advice: &str) -> Mistake {
        let elsewhere = self.merged.misplaced.iter().find(|(misplaced, _)| *misplaced == key);
        let advice = elsewhere.map_or(advice, |(_, text)| text);
        Mistake::Missing { key, advice: advice.to_owned(), misplaced: elsewhere.is_some() }
    }

    fn required<T>(&self, key: &'static str, value: Option<T>) -> Result<T, Mistake> {
        value.ok_or_else(|| self.missing(key, "set it in the TOML file; docs/configuration.md describes it"))
    }

    /// A value of a type that has no limits.
    pub(crate) fn get<T: Setting<Range = ()>>(&self, key: &'static str) -> Result<T, Mistake> {
        T::read(self, key, ())
    }

    /// A text; an empty one counts as not set.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.value(key).and_then(Value::as_str).filter(|text| !text.is_empty())
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

    fn number(&self, key: &'static str, range: &RangeInclusive<f64>, what: &str) -> Result<f64, Mistake> {
        // Every range in use ends far below the 2^53 from which the conversion rounds.
        #[expect(clippy::cast_precision_loss)]
        let whole = |value: &Value| value.as_integer().map(|whole| whole as f64);
        let value = self.value(key).and_then(|value| whole(value).or(value.as_float()));
        let value = self.required(key, value)?;
        if range.contains(&value) {
            return Ok(value);
        }
        let advice = format!("write a {what} from {} to {}", range.start(), range.end());
        Err(self.invalid(key, format!("cannot be {value}"), advice))
    }
}

/// What a section of the configuration is read as.
pub(crate) trait Section: Sized {
    fn read(inputs: &Inputs) -> Result<Self, Mistake>;
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
    bool: Flag, (), |inputs, key, ()| inputs.required(key, inputs.value(key).and_then(Value::as_bool));
    String: Text, (), |inputs, key, ()| inputs.required_text(key).map(str::to_owned);
    Option<String>: Text, (), |inputs, key, ()| Ok(inputs.text(key).map(str::to_owned));
    Option<Secret>: Secret, (), |inputs, key, ()| {
        Ok(inputs.text(key).map(text::secret).filter(|secret| !secret.is_empty()).map(Secret::new))
    };
    Vec<String>: List, (), |inputs, key, ()| {
        let items = inputs.required(key, inputs.value(key).and_then(Value::as_array))?;
        Ok(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    };
    PathBuf: Path, (), |inputs, key, ()| {
        let path = inputs.get::<Option<Self>>(key)?;
        inputs.required(key, path)
    };
    // Absolute, or below the home directory and written as `~/…`.
    Option<PathBuf>: Path, (), |inputs, key, ()| {
        let Some(text) = inputs.text(key) else { return Ok(None) };
        let path = text.strip_prefix("~/").map_or_else(|| PathBuf::from(text), |below| inputs.home.join(below));
        if path.is_absolute() {
            return Ok(Some(path));
        }
        Err(inputs.invalid(key, format!("cannot be {text:?}"), "write a path that begins with / or ~/"))
    };
    f64: Fraction, RangeInclusive<f64>, |inputs, key, range| inputs.number(key, &range, "fraction");
    Duration: Seconds, RangeInclusive<f64>, |inputs, key, range| {
        let seconds = inputs.number(key, &range, "number of seconds")?;
        let refused = |error: std::time::TryFromFloatSecsError| {
            inputs.invalid(key, error.to_string(), "write a number of seconds")
        };
        Self::try_from_secs_f64(seconds).map_err(refused)
    };
    i64: Count, RangeInclusive<i64>, |inputs, key, range| {
        let value = inputs.required(key, inputs.value(key).and_then(Value::as_integer))?;
        if range.contains(&value) {
            return Ok(value);
        }
        let advice = format!("write a whole number from {} to {}", range.start(), range.end());
        Err(inputs.invalid(key, format!("cannot be {value}"), advice))
    };
    u16: Count, RangeInclusive<i64>, |inputs, key, range| narrowed(inputs, key, range);
    u32: Count, RangeInclusive<i64>, |inputs, key, range| narrowed(inputs, key, range);
    u64: Count, RangeInclusive<i64>, |inputs, key, range| narrowed(inputs, key, range);
    usize: Count, RangeInclusive<i64>, |inputs, key, range| narrowed(inputs, key, range);
}

/// A whole number of a type that the range may go beyond.
fn narrowed<T: TryFrom<i64>>(
    inputs: &Inputs,
    key: &'static str,
    range: RangeInclusive<i64>,
) -> Result<T, Mistake> {
    let value = i64::read(inputs, key, range)?;
    T::try_from(value)
        .map_err(|_| inputs.invalid(key, format!("cannot be {value}"), "write a smaller number"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Inputs with one key set, as if by a file called `f`.
    fn with(key: &'static str, value: impl Into<Value>) -> Inputs {
        Inputs::new(layer(key, value), Values::new(), Some("/home/agent".into()))
    }

    fn layer(key: &'static str, value: impl Into<Value>) -> Layer {
        let found = Found { value: value.into(), origin: "f".to_owned() };
        Layer { values: Values::from([(key, found)]), ..Layer::default() }
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
        let inputs = Inputs::new(layer(key, "~/c"), Values::new(), None);
        assert_eq!(inputs.get::<Option<PathBuf>>(key).unwrap(), Some("/root/c".into()));
    }
}
