//! The requested range of a sorted list: `startkey`, `endkey`, `limit`, `skip`, `descending` and similar.
//!
//! `_all_dbs`, `_dbs_info` and `_all_docs` take the same parameters (upstream:
//! `couch_mrview_http:parse_params`). Keys are JSON; null, booleans and numbers sort before all names, arrays
//! and objects after them.

use serde_json::Value;

use crate::reply::{Refusal, Reply};

/// The requested range.
#[derive(Debug)]
pub(crate) struct Window {
    start: Option<Value>,
    end: Option<Value>,
    inclusive_end: bool,
    descending: bool,
    limit: usize,
    skip: usize,
}

impl Window {
    /// Reads the parameters through `param`; invalid numbers and keys are CouchDB's 400s.
    pub(crate) fn parse(param: impl Fn(&str) -> Option<String>) -> Result<Self, Refusal> {
        let key = |names: &[&str]| -> Result<Option<Value>, Refusal> {
            let text = names.iter().find_map(|name| param(name));
            let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
            parsed.map_err(|_| Reply::bad_request("invalid UTF-8 JSON"))
        };
        let single = key(&["key"])?;
        // Upstream ignores the id if there is a key; rows here have no keys besides their ids.
        let by_id = || param("startkey_docid").or_else(|| param("start_key_doc_id")).map(Value::from);
        let start = key(&["startkey", "start_key"])?.or_else(by_id);
        Ok(Self {
            start: single.clone().or(start),
            end: single.or(key(&["endkey", "end_key"])?),
            inclusive_end: param("inclusive_end").as_deref() != Some("false"),
            descending: param("descending").as_deref() == Some("true"),
            limit: count(param("limit"))?.unwrap_or(usize::MAX),
            skip: count(param("skip"))?.unwrap_or(0),
        })
    }

    /// The requested rows of `sorted` (ascending), and the number of rows before the first of them.
    pub(crate) fn select<T: Clone>(&self, sorted: &[T], name: impl Fn(&T) -> &str) -> (usize, Vec<T>) {
        // Both closures count rows from the start, in ascending order.
        let below = |key: &Value| sorted.partition_point(|row| is_below(name(row), key, false));
        let through = |key: &Value| sorted.partition_point(|row| is_below(name(row), key, true));
        let (low, high) = if self.descending { (&self.end, &self.start) } else { (&self.start, &self.end) };
        let low_inclusive = !self.descending || self.inclusive_end;
        let high_inclusive = self.descending || self.inclusive_end;
        let first = low.as_ref().map_or(0, |key| if low_inclusive { below(key) } else { through(key) });
        let last =
            high.as_ref().map_or(sorted.len(), |key| if high_inclusive { through(key) } else { below(key) });
        let before = if self.descending { sorted.len() - last } else { first };
        let found = sorted.get(first..last.max(first)).unwrap_or_default();
        let rows = if self.descending {
            found.iter().rev().skip(self.skip).take(self.limit).cloned().collect()
        } else {
            found.iter().skip(self.skip).take(self.limit).cloned().collect()
        };
        ((before + self.skip).min(sorted.len()), rows)
    }
}

/// Whether a name sorts before the key, or is equal to it if `or_equal`.
fn is_below(name: &str, key: &Value, or_equal: bool) -> bool {
    match key {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::Array(_) | Value::Object(_) => true,
        Value::String(key) => name < key.as_str() || (or_equal && name == key),
    }
}

fn count(text: Option<String>) -> Result<Option<usize>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let invalid = |kind: &str| {
        let reason = format!("Invalid value for {kind}: {}", Value::from(text.clone()));
        Reply::error(400, "query_parse_error", &reason)
    };
    let number: i64 = text.parse().map_err(|_| invalid("integer"))?;
    usize::try_from(number).map(Some).map_err(|_| invalid("positive integer"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn select(query: &[(&str, &str)]) -> (usize, String) {
        let param =
            |name: &str| query.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let (offset, rows) = Window::parse(param).unwrap().select(&["a", "b", "c", "d"], |row| row);
        (offset, rows.concat())
    }

    #[test]
    fn bounds_are_inclusive_unless_told_otherwise() {
        assert_eq!(select(&[]), (0, "abcd".into()));
        assert_eq!(select(&[("startkey", "\"b\""), ("endkey", "\"c\"")]), (1, "bc".into()));
        assert_eq!(
            select(&[("start_key", "\"b\""), ("end_key", "\"c\""), ("inclusive_end", "false")]),
            (1, "b".into())
        );
        assert_eq!(select(&[("key", "\"c\"")]), (2, "c".into()));
        assert_eq!(select(&[("startkey", "\"z\""), ("endkey", "\"a\"")]), (4, String::new()));
        assert_eq!(select(&[("startkey", "5"), ("limit", "1")]), (0, "a".into()));
    }

    #[test]
    fn descending_swaps_the_bounds() {
        let query = [("descending", "true"), ("startkey", "\"c\""), ("endkey", "\"b\"")];
        assert_eq!(select(&query), (1, "cb".into()));
        assert_eq!(select(&[("descending", "true"), ("limit", "1"), ("skip", "1")]), (1, "c".into()));
        assert_eq!(select(&[("skip", "100")]), (4, String::new()));
    }
}
