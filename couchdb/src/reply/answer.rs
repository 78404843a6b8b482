//! Limits the size of answers, and parses them.
//!
//! The agent's requests have answers of a few MiB at most. But CouchDB allows documents of 8 MB
//! (`max_document_size`), users write their own documents, and an attacker on the server could send endless
//! answers.

use serde_json::Value;

use crate::reply::error::CouchError;

/// The longest answer that is read, in bytes.
pub(crate) const LONGEST: usize = 64 << 20;

/// The maximum number of JSON values in an answer. In memory a value takes up to fifty times the size of its
/// text (`{"a":0}`, a map for a single number), so this many take at most 100 MB. A page of a thousand users
/// has twenty thousand values, and a database would need a similar number of members to reach the limit.
pub(crate) const MOST_VALUES: usize = 250_000;

/// Shorter answers need not be counted: each value takes at least one byte and a separator.
const SURELY_FEW: usize = 2 * MOST_VALUES;

/// The reason why an answer was not read, for the operator.
pub(crate) const TOO_LONG: &str = "it is longer than 64 MiB, and the rest was not read; look for documents of that size \
                                   in _users, and for who sends this";

/// Parses an answer's body (`null` if it is empty).
///
/// # Errors
/// A message if the body is not JSON or has too many values.
pub(crate) fn parse(body: &[u8]) -> Result<Value, String> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    if body.len() > SURELY_FEW && values_at_most(body) > MOST_VALUES {
        return Err(format!(
            "it holds more than {MOST_VALUES} JSON values and was not read; look for documents of that size in _users, \
             and for databases with as many members"
        ));
    }
    serde_json::from_slice(body).map_err(|_| "the answer is not JSON".to_owned())
}

/// An upper bound for the number of values in `text`, if it is JSON: each value except the first follows one
/// of these bytes outside a string, or a key's colon.
fn values_at_most(text: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// Parses the body of a successful answer.
pub(crate) fn read_answer(body: &[u8]) -> Result<Value, CouchError> {
    parse(body).map_err(|problem| CouchError::Unexpected { what: "a request", problem })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_of_very_many_small_values_is_not_taken_into_memory() {
        for value in ["0", r#"{"a":0}"#, "[]", r#""""#] {
            let text = |count| format!("[{}]", vec![value; count].join(","));
            let error = parse(text(MOST_VALUES).as_bytes()).unwrap_err();
            assert!(error.contains("more than 250000 JSON values"), "{error}");
            let few = text(MOST_VALUES / 3);
            assert_eq!(parse(few.as_bytes()).unwrap().as_array().unwrap().len(), MOST_VALUES / 3);
        }
    }

    #[test]
    fn text_inside_a_string_is_no_value() {
        let long = format!(r#"["{}", "\"{}\\"]"#, ",".repeat(MOST_VALUES), "[{".repeat(MOST_VALUES));
        assert_eq!(parse(long.as_bytes()).unwrap().as_array().unwrap().len(), 2);
    }

    #[test]
    fn nothing_is_null_and_anything_else_is_json_or_said_to_be_none() {
        assert_eq!(parse(b"").unwrap(), Value::Null);
        assert_eq!(parse(b"{\"ok\":true}\n").unwrap(), json!({"ok": true}));
        assert_eq!(parse(b"<html>").unwrap_err(), "the answer is not JSON");
    }

    fn values(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(values).sum(),
            Value::Object(entries) => entries.values().map(values).sum(),
            _ => 0,
        }
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(json!(null)), any::<i64>().prop_map(Value::from), ".*".prop_map(Value::from)];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..8)
                    .prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_value_is_overlooked(value in anything()) {
            let text = value.to_string();
            prop_assert!(values_at_most(text.as_bytes()) >= values(&value));
            prop_assert!(values(&value) <= 1 + text.len() / 2);
        }
    }
}
