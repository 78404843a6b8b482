//! JSON objects of which the agent changes a few fields and keeps the rest unchanged.
//!
//! CouchDB stores integers of any length and objects of any depth. A [`Value`] can't: it turns an integer of
//! 20 digits into a floating-point number, and parsing fails for 400 digits or 200 nested arrays. So each
//! field is kept as text, and only requested fields are parsed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::reply::answer;

/// An object whose fields are texts. It is written exactly as it was read.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Exact(BTreeMap<String, Box<RawValue>>);

impl Exact {
    /// Reads an object. `None` if the text is not an object.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The value of a field. `None` if the field is missing.
    ///
    /// # Errors
    /// A message if the field can't be parsed.
    pub(crate) fn value(&self, key: &str) -> Option<Result<Value, String>> {
        self.0.get(key).map(|text| answer::parse(text.get().as_bytes()))
    }

    /// The value of a text field.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.0.get(key)?.get()).ok()
    }

    /// The value of an object field.
    pub(crate) fn object(&self, key: &str) -> Option<Self> {
        Self::read(self.0.get(key)?.get().as_bytes())
    }

    /// Whether the field exists.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Removes a field.
    pub(crate) fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Renames a field.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        if let Some(text) = self.0.remove(from) {
            self.0.insert(to.to_owned(), text);
        }
    }

    /// Sets a field to a value.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.set_text(key, value.into().to_string());
    }

    /// Sets a field to an object.
    pub(crate) fn set_object(&mut self, key: &str, object: &Self) {
        self.set_text(key, object.to_text());
    }

    /// The whole object.
    pub(crate) fn to_text(&self) -> String {
        let fields = self.0.iter().map(|(key, text)| format!("{}:{}", Value::from(key.as_str()), text.get()));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    }

    fn set_text(&mut self, key: &str, text: String) {
        // The text of a value or an object is always JSON.
        if let Ok(text) = RawValue::from_string(text) {
            self.0.insert(key.to_owned(), text);
        }
    }
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        self.to_text() == other.to_text()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_touched_is_written_as_it_was_read() {
        let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
        let digits = "9".repeat(400);
        let text = format!(
            r#"{{"big":123456789012345678901234567890,"deep":{deep},"e":1e400,"n":{digits},"one":1.0,"text":"\ud83d \u00e9"}}"#
        );
        let mut object = Exact::read(text.as_bytes()).unwrap();
        assert_eq!(object.to_text(), text);
        object.set("one", json!([2]));
        assert_eq!(object.to_text(), text.replace("1.0", "[2]"));
        assert_eq!(serde_json::to_string(&object).unwrap(), object.to_text());
        assert!(object.value("n").unwrap().is_err() && object.value("deep").unwrap().is_err());
        assert_eq!((object.value("none"), object.value("one")), (None, Some(Ok(json!([2])))));
    }

    #[test]
    fn only_objects_are_read() {
        for text in ["", "[]", "null", "1", "{", r#"{"a":}"#, "\u{ff}"] {
            assert!(Exact::read(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Exact::read(b"{\"a\":\"\xff\"}").is_none());
    }

    #[test]
    fn fields_come_and_go() {
        let mut object = Exact::read(br#"{"a":"x","b":{"c":1},"a\"q":2}"#).unwrap();
        assert_eq!(object.text("a").as_deref(), Some("x"));
        assert_eq!((object.text("b"), object.has("b")), (None, true));
        let mut inner = object.object("b").unwrap();
        inner.set("d", 2);
        object.set_object("b", &inner);
        object.rename("a", "z");
        assert_eq!(object.to_text(), r#"{"a\"q":2,"b":{"c":1,"d":2},"z":"x"}"#);
        object.remove("z");
        assert!(!object.has("z") && object.has("a\"q"));
    }
}
