//! Compares a recorded body with the replayed one, and learns the values that a server chooses freely:
//! revisions of hashed documents, salts, derived keys, ids, cookies.
//!
//! Learned values are replaced in later requests, so that a replayed `If-Match` names *our* revision. A value
//! that was learned once must stay the same. All values that are not compared are listed in this file.

use std::collections::BTreeMap;

use serde_json::Value;

/// The rounds of a real 3.4+, and the rounds of the replay, which must be fast.
pub(crate) const RECORDED_ITERATIONS: u64 = 600_000;
pub(crate) const OUR_ITERATIONS: u32 = 1_000;

/// Members whose values are not comparable: sizes on disk, sequences, clocks, names of files, log references, the text of a
/// function that is missing in the recording, and whether a compaction ran.
const INCOMPARABLE: [&str; 10] = [
    "compact_running",
    "file",
    "active",
    "external",
    "instance_start_time",
    "purge_seq",
    "ref",
    "shard_suffix",
    "update_seq",
    "validate_doc_update",
];

/// Recorded text -> our text.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    texts: BTreeMap<String, String>,
}

impl Learned {
    /// Replaces recorded texts by ours.
    pub(crate) fn translate(&self, text: &str) -> String {
        // Learned texts are long and random, so none is a part of a different one.
        let mut text = text.to_owned();
        for (recorded, ours) in &self.texts {
            if text.contains(recorded.as_str()) {
                text = text.replace(recorded.as_str(), ours);
            }
        }
        text
    }

    /// A request body, with our texts and rounds.
    pub(crate) fn translate_body(&self, body: &Value) -> String {
        let text = self.translate(&body.to_string());
        text.replace(
            &format!("\"iterations\":{RECORDED_ITERATIONS}"),
            &format!("\"iterations\":{OUR_ITERATIONS}"),
        )
    }

    /// Learns our name for the recorded node where a path names it.
    pub(crate) fn node_names<'a>(&mut self, paths: impl Iterator<Item = &'a str>, port: u16) {
        for recorded in paths.flat_map(|path| path.split('/')).filter(|segment| shape(segment) == "NODE") {
            self.texts.insert(recorded.to_owned(), format!("couch{port}@127.0.0.1"));
        }
    }

    /// Learns our cookie for a recorded one; the same second gives the same cookie, so the last one wins.
    pub(crate) fn cookie(&mut self, recorded: Option<&str>, ours: Option<&str>) {
        let value = |cookie: &str| cookie.strip_prefix("AuthSession=")?.split(';').next().map(str::to_owned);
        if let (Some(recorded), Some(ours)) = (recorded.and_then(value), ours.and_then(value))
            && !recorded.is_empty()
        {
            self.texts.insert(recorded, ours);
        }
    }

    /// The first difference, as path and both values; learns values as a side effect.
    pub(crate) fn difference(&mut self, path: &str, recorded: &Value, ours: &Value) -> Option<String> {
        let differ = || Some(format!("{path}: recorded {recorded}, ours {ours}"));
        match (recorded, ours) {
            (Value::Object(left), Value::Object(right)) => {
                let keys = |object: &serde_json::Map<String, Value>| {
                    let mut keys: Vec<String> = object.keys().cloned().collect();
                    keys.sort();
                    keys
                };
                if keys(left) != keys(right) {
                    return differ();
                }
                left.iter().find_map(|(key, value)| {
                    let comparable = !INCOMPARABLE.contains(&key.as_str());
                    comparable.then(|| self.difference(&format!("{path}.{key}"), value, &right[key]))?
                })
            }
            (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
                let pairs = left.iter().zip(right).enumerate();
                pairs
                    .into_iter()
                    .find_map(|(at, (left, right))| self.difference(&format!("{path}[{at}]"), left, right))
            }
            (Value::String(left), Value::String(right)) => (!self.same_text(left, right)).then(differ)?,
            (Value::Number(left), Value::Number(right)) if path.ends_with(".iterations") => {
                let expected = match left.as_u64() {
                    Some(RECORDED_ITERATIONS) => u64::from(OUR_ITERATIONS),
                    other => other.unwrap_or_default(),
                };
                (right.as_u64() != Some(expected)).then(differ)?
            }
            _ => (recorded != ours).then(differ)?,
        }
    }

    fn same_text(&mut self, recorded: &str, ours: &str) -> bool {
        if recorded == ours || self.texts.get(recorded).is_some_and(|known| known == ours) {
            return true;
        }
        let shape = shape(recorded);
        if shape != self::shape(ours) {
            return false;
        }
        // Texts of equal shape may differ only in parts that the server chose, and it never chooses the same
        // value twice.
        if shape == recorded {
            return false;
        }
        self.texts.insert(recorded.to_owned(), ours.to_owned()).is_none()
    }
}

/// The text with everything random replaced by a placeholder.
fn shape(text: &str) -> String {
    if let Some((generation, hash)) = text.split_once('-')
        && generation.parse::<u64>().is_ok()
        && is_hex(hash, 32)
    {
        return format!("{generation}-REVISION");
    }
    for prefix in ["-pbkdf2:sha256-", "-pbkdf2-"] {
        let fields: Vec<&str> =
            text.strip_prefix(prefix).map_or_else(Vec::new, |rest| rest.split(',').collect());
        if let [key, salt, rounds] = fields.as_slice()
            && is_hex(salt, 32)
            && is_hex(key, if prefix == "-pbkdf2-" { 40 } else { 64 })
        {
            let ours = OUR_ITERATIONS.to_string();
            let rounds = if *rounds == ours { RECORDED_ITERATIONS.to_string() } else { (*rounds).to_owned() };
            return format!("{prefix}KEY,SALT,{rounds}");
        }
    }
    if let Some(port) = text.strip_prefix("couch").and_then(|rest| rest.strip_suffix("@127.0.0.1"))
        && port.parse::<u16>().is_ok()
    {
        return "NODE".to_owned();
    }
    if text == "3.3.3-dirty" || text == "3.3.3" {
        return "RELEASE".to_owned(); // the recorded 3.3.3 was built from a modified tree
    }
    if [32, 40, 64].iter().any(|length| is_hex(text, *length)) {
        return format!("{} HEX DIGITS", text.len());
    }
    text.to_owned()
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
