//! Reads the captured messages in `fixtures/`, whatever the structure of the file.

use std::{fs, path::Path};

use serde_json::{Map, Value};
use trove_couchdb_protocol::{Cipher, Secret};

/// The guest key of encrypted captures that name no key (PROTOCOL, section 4).
const KEY: &str = "oj47q4kuzlRq7dAFMPggh1Lj5XClBLVU";

/// The recipient of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recipient {
    Guest,
    /// Same form as a guest's; the flows contain a few.
    Taskmanager,
    Caller,
    Conductor,
}

/// A captured message and its known content.
pub(crate) struct Capture {
    /// File and position, for test failures.
    pub name: String,
    pub recipient: Recipient,
    pub routing_key: String,
    pub body: Vec<u8>,
    /// The message inside the envelope, still encrypted.
    pub message: Map<String, Value>,
    pub cipher: Option<Cipher>,
    /// `args` and `context`, or `result`; empty if the message is in clear.
    pub decrypted: Map<String, Value>,
}

impl Capture {
    fn new(name: String, capture: &Value, key: Option<&str>) -> Self {
        let routing_key = capture["routing_keys"][0].as_str().unwrap().to_owned();
        let recipient = match routing_key.as_str() {
            "trove-conductor" => Recipient::Conductor,
            "taskmanager" => Recipient::Taskmanager,
            key if key.starts_with("guestagent.") => Recipient::Guest,
            key if key.starts_with("reply_") => Recipient::Caller,
            other => panic!("{name}: nobody listens on {other}"),
        };
        Self {
            name,
            recipient,
            routing_key,
            body: capture["body_raw"].as_str().unwrap().as_bytes().to_vec(),
            message: capture["message"].as_object().unwrap().clone(),
            cipher: key.map(|key| Cipher::new(&Secret::new(key))),
            decrypted: capture.get("decrypted").and_then(Value::as_object).cloned().unwrap_or_default(),
        }
    }

    /// The message's entries with this key prefix; the prefix is removed.
    pub(crate) fn prefixed(&self, prefix: &str) -> Map<String, Value> {
        let entry =
            |(key, value): (&String, &Value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone()));
        self.message.iter().filter_map(entry).collect()
    }
}

/// All files of `fixtures/` and its folder `flows`: `(name, text)`, sorted.
pub(crate) fn files(extension: &str) -> Vec<(String, String)> {
    // The agent's tests include this module, too.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/fixtures");
    let mut files = Vec::new();
    for folder in [root.clone(), root.join("flows")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|found| found == extension) {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// The messages of a file: a list, an object with `messages`, or a single message.
fn messages(file: &Value) -> Vec<&Value> {
    match file {
        Value::Array(list) => list.iter().collect(),
        _ => file["messages"].as_array().map_or_else(|| vec![file], |list| list.iter().collect()),
    }
}

/// All captured messages.
pub(crate) fn all() -> Vec<Capture> {
    let mut captures = Vec::new();
    for (name, text) in files("json") {
        // RabbitMQ's errors for conflicting declarations: no messages.
        if name == "declare-mismatch.json" {
            continue;
        }
        let file: Value = serde_json::from_str(&text).unwrap();
        for (index, message) in messages(&file).into_iter().enumerate() {
            let named = [&message["key"], &file["key"]].into_iter().find_map(Value::as_str);
            let key = named.or_else(|| name.ends_with(".secure.json").then_some(KEY));
            captures.push(Capture::new(format!("{name}#{index}"), message, key));
        }
    }
    captures
}

/// The captured messages for one recipient.
pub(crate) fn to(recipient: Recipient) -> Vec<Capture> {
    all().into_iter().filter(|capture| capture.recipient == recipient).collect()
}

#[test]
fn none_is_overlooked() {
    let count = |recipient| to(recipient).len();
    let counts =
        [Recipient::Guest, Recipient::Taskmanager, Recipient::Caller, Recipient::Conductor].map(count);
    assert_eq!(counts, [201, 13, 173, 52]);
    assert_eq!(files("json").len() + files("txt").len(), 218);
    let messages = all();
    let silent: Vec<_> = files("json")
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !messages.iter().any(|capture| capture.name.starts_with(&format!("{name}#"))))
        .collect();
    // The control plane performs the actions of these two flows without sending a message.
    assert_eq!(silent, ["declare-mismatch.json", "flows/config-create.json", "flows/pg-config-create.json"]);
}
