//! JSON from an untrusted sender: repeated keys are refused, and the number of values is limited.
//!
//! For a repeated key `serde_json` uses the last value and other readers the first, so two readers can see
//! different messages. oslo.messaging never sends repeated keys. A value needs far more memory than its text
//! (an object of 9 bytes needs about 350), so values are counted while they are read. `serde_json` itself
//! limits the depth to 128. Called by [`crate::envelope`] and [`crate::cipher`].

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why a text was refused.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The text is not JSON.
    Syntax(serde_json::Error),
    /// An object has this key twice.
    RepeatedKey(String),
    /// The budget is used up.
    TooManyValues,
}

/// How many values may still be read. All parts of a message share one budget.
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Budget {
    pub(crate) fn of(values: usize) -> Self {
        Self(values)
    }

    /// The budget for a trusted sender.
    pub(crate) fn unlimited() -> Self {
        Self(usize::MAX)
    }
}

/// Reads one JSON text.
pub(crate) fn parse(text: &[u8], budget: &mut Budget) -> Result<Value, Fault> {
    let mut refused = None;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict { budget, refused: &mut refused }.deserialize(&mut deserializer);
    let whole = value.and_then(|value| deserializer.end().map(|()| value));
    whole.map_err(|error| refused.unwrap_or(Fault::Syntax(error)))
}

/// The number of values in a value, including itself.
pub(crate) fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(entries) => entries.values().map(count).sum(),
        _ => 0,
    }
}

/// Builds a value. Stores in `refused` the errors that serde's error type cannot carry.
struct Strict<'a> {
    budget: &'a mut Budget,
    refused: &'a mut Option<Fault>,
}

impl Strict<'_> {
    /// The deserializer for a nested value.
    fn inner(&mut self) -> Strict<'_> {
        Strict { budget: self.budget, refused: self.refused }
    }

    fn refuse<E: Error>(&mut self, fault: Fault) -> E {
        *self.refused = Some(fault);
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<Value, D::Error> {
        match self.budget.0.checked_sub(1) {
            Some(left) => self.budget.0 = left,
            None => return Err(self.refuse(Fault::TooManyValues)),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner())? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(self.refuse(Fault::RepeatedKey(key)));
            }
            let value = entries.next_value_seed(self.inner())?;
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(text: &str, values: usize) -> Fault {
        parse(text.as_bytes(), &mut Budget::of(values)).unwrap_err()
    }

    #[test]
    fn a_key_counts_once_in_its_object() {
        for text in [r#"{"a": 1, "a": 1}"#, r#"[{"b": [], "a": {}, "a": null}]"#, r#"{"a": 1, "\u0061": 2}"#]
        {
            assert!(matches!(fault(text, 100), Fault::RepeatedKey(key) if key == "a"), "{text}");
        }
        let nested = br#"{"a": {"a": [{"a": 1}, {"a": 2}]}}"#;
        assert_eq!(parse(nested, &mut Budget::of(100)).unwrap()["a"]["a"][1]["a"], 2);
    }

    #[test]
    fn values_are_counted_over_all_parts() {
        let text = r#"{"a": [1, 2, {}], "b": null}"#;
        assert_eq!(count(&serde_json::from_str(text).unwrap()), 6);
        assert!(matches!(fault(text, 5), Fault::TooManyValues));
        let mut budget = Budget::of(11);
        parse(text.as_bytes(), &mut budget).unwrap();
        assert!(matches!(parse(text.as_bytes(), &mut budget), Err(Fault::TooManyValues)));
    }

    #[test]
    fn what_is_no_json_is_no_json() {
        for text in
            ["", "{", "[1,]", "1 2", "\"\\ud800\"", "1e999", &"1".repeat(400), &"[".repeat(200), "NaN"]
        {
            assert!(matches!(fault(text, 1_000), Fault::Syntax(_)), "{text:.20}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn everything_else_is_read_as_serde_json_does(value in any_json()) {
            let text = value.to_string();
            let mut budget = Budget::of(count(&value));
            let read = parse(text.as_bytes(), &mut budget).unwrap();
            prop_assert_eq!(&read, &serde_json::from_str::<Value>(&text).unwrap());
            prop_assert_eq!(budget.0, 0);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[\\[\\]{}:,\"0-9a\\\\u.e-]{0,60}") {
            drop(parse(&bytes, &mut Budget::of(20)));
            let strict = parse(text.as_bytes(), &mut Budget::unlimited());
            let lax = serde_json::from_str::<Value>(&text);
            match strict {
                Ok(value) => prop_assert_eq!(value, lax.unwrap()),
                Err(Fault::RepeatedKey(_)) => {}
                Err(_) => prop_assert!(lax.is_err()),
            }
        }
    }
}
