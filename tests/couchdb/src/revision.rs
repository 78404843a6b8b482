//! Document revisions, computed as by CouchDB, so that the same edits give the same `_rev` as on a real
//! server.
//!
//! So revisions need no special case in the conformance test. Upstream: `couch_db:new_revid/1`, the MD5 of
//! Erlang's external term format (erts "External Term Format", version 131, `minor_version` 1) of
//! `[Deleted, OldStart, OldRev, Body, Attachments]`. Caller: `database`.

use std::fmt;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A revision: the number of edits and the hash of the last one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Revision {
    generation: u64,
    hash: String,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.hash)
    }
}

impl Revision {
    /// Parses `N-HASH`; `None` is CouchDB's 400 "Invalid rev format".
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (generation, hash) = text.split_once('-')?;
        Some(Self { generation: generation.parse().ok()?, hash: hash.to_owned() })
    }

    /// The revision of an edit of `parent` to this body.
    pub(crate) fn after(parent: Option<&Self>, deleted: bool, body: &Map<String, Value>) -> Self {
        let mut term = vec![131, LIST, 0, 0, 0, 5];
        put_atom(&mut term, if deleted { "true" } else { "false" });
        put_integer(&mut term, parent.map_or(0, |parent| i128::from(parent.generation)));
        match parent {
            None => put_integer(&mut term, 0),
            Some(parent) => put_binary(&mut term, &parent.hash_bytes()),
        }
        put_object(&mut term, body);
        term.extend([NIL, NIL]); // no attachments; the end of the outer list
        let generation = parent.map_or(1, |parent| parent.generation + 1);
        Self { generation, hash: hex::encode(Md5::digest(&term)) }
    }

    /// CouchDB stores a hash of 32 hex digits as 16 bytes and any other hash as text.
    fn hash_bytes(&self) -> Vec<u8> {
        match hex::decode(&self.hash) {
            Ok(bytes) if bytes.len() == 16 => bytes,
            _ => self.hash.clone().into_bytes(),
        }
    }
}

const NEW_FLOAT: u8 = 70;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const ATOM: u8 = 100;
const SMALL_TUPLE: u8 = 104;
const NIL: u8 = 106;
const STRING: u8 = 107;
const LIST: u8 = 108;
const BINARY: u8 = 109;
const SMALL_BIG: u8 = 110;

fn put_value(term: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => put_atom(term, "null"),
        Value::Bool(true) => put_atom(term, "true"),
        Value::Bool(false) => put_atom(term, "false"),
        Value::String(text) => put_binary(term, text.as_bytes()),
        Value::Array(items) => put_list(term, items),
        Value::Object(members) => put_object(term, members),
        Value::Number(number) => {
            let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
            if let Some(integer) = integer {
                put_integer(term, integer);
            } else {
                term.push(NEW_FLOAT);
                term.extend(number.as_f64().unwrap_or_default().to_be_bytes());
            }
        }
    }
}

/// `{[{Key, Value}, …]}`: an EJSON object.
fn put_object(term: &mut Vec<u8>, members: &Map<String, Value>) {
    term.extend([SMALL_TUPLE, 1]);
    if !members.is_empty() {
        put_length(term, LIST, members.len());
        for (key, value) in members {
            term.extend([SMALL_TUPLE, 2]);
            put_binary(term, key.as_bytes());
            put_value(term, value);
        }
    }
    term.push(NIL);
}

fn put_list(term: &mut Vec<u8>, items: &[Value]) {
    // Erlang has no string type: a list of small integers is encoded as a string.
    let bytes: Option<Vec<u8>> =
        items.iter().map(|item| item.as_u64().and_then(|n| u8::try_from(n).ok())).collect();
    match (bytes, u16::try_from(items.len())) {
        (_, Ok(0)) => {}
        (Some(bytes), Ok(length)) => {
            term.push(STRING);
            term.extend(length.to_be_bytes());
            term.extend(bytes);
            return;
        }
        _ => {
            put_length(term, LIST, items.len());
            for item in items {
                put_value(term, item);
            }
        }
    }
    term.push(NIL);
}

fn put_integer(term: &mut Vec<u8>, number: i128) {
    if let Ok(small) = u8::try_from(number) {
        term.extend([SMALL_INTEGER, small]);
    } else if let Ok(integer) = i32::try_from(number) {
        term.push(INTEGER);
        term.extend(integer.to_be_bytes());
    } else {
        let magnitude = number.unsigned_abs().to_le_bytes();
        let length = magnitude.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        term.extend([SMALL_BIG, u8::try_from(length).unwrap_or(u8::MAX), u8::from(number < 0)]);
        term.extend(magnitude.iter().take(length));
    }
}

fn put_atom(term: &mut Vec<u8>, name: &str) {
    term.push(ATOM);
    term.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
    term.extend(name.as_bytes());
}

fn put_binary(term: &mut Vec<u8>, bytes: &[u8]) {
    put_length(term, BINARY, bytes.len());
    term.extend(bytes);
}

fn put_length(term: &mut Vec<u8>, tag: u8, length: usize) {
    term.push(tag);
    term.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn first(body: &Value) -> String {
        Revision::after(None, false, body.as_object().unwrap()).to_string()
    }

    /// A real 3.5.0 answered all expected values (transcripts `errors`, `security` and `users`).
    #[test]
    fn revisions_are_those_of_a_real_server() {
        assert_eq!(first(&json!({})), "1-967a00dff5e02add41819138abb3284d");
        assert_eq!(first(&json!({ "v": 1 })), "1-7a7e4b29f3af401e69b6f86e4c26b727");
        assert_eq!(
            first(&json!({ "name": "m1", "roles": [], "type": "user" })),
            "1-fd0f4617adfa0a0f4296f337e9296f72"
        );
        let index = json!({ "language": "query", "views": { "i": {
            "map": { "fields": { "a": "asc" }, "partial_filter_selector": {} },
            "reduce": "_count", "options": { "def": { "fields": ["a"] } }
        } } });
        assert_eq!(first(&index), "1-78e3b3ade4212191cd4fbcf0bf8fcd61");
        let parent = Revision::parse("1-7a7e4b29f3af401e69b6f86e4c26b727").unwrap();
        let tombstone = Revision::after(Some(&parent), true, &Map::new());
        assert_eq!(tombstone.to_string(), "2-d9b15b235a7d0afdfe6058d5fb8afbd1");
    }

    #[test]
    fn only_a_number_and_a_dash_make_a_revision() {
        assert!(Revision::parse("1-abc").is_some());
        assert!(Revision::parse("junk").is_none());
        assert!(Revision::parse("x-abc").is_none());
    }
}
