//! The seeds of fuzzing: messages of a real Trove, taken from `protocol/fixtures`. Parsers without a capture
//! get a few valid and a few barely invalid texts. `src/bin/seeds.rs` writes the seeds to `fuzz/corpus`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

/// The prefix of seed files. Other files of a corpus are findings of the fuzzer or of a reader, and are kept.
pub const PREFIX: &str = "seed-";

/// One file of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The name of the corpus.
    pub target: &'static str,
    /// The file's name.
    pub name: String,
    /// The content.
    pub bytes: Vec<u8>,
}

impl Seed {
    fn new(target: &'static str, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { target, name: format!("{PREFIX}{name}"), bytes: bytes.into() }
    }

    /// The path of the file.
    pub fn path(&self) -> PathBuf {
        corpus().join(self.target).join(&self.name)
    }
}

/// The committed corpora.
pub fn corpus() -> PathBuf {
    workspace().join("fuzz/corpus")
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Methods whose arguments the agent decodes, and three that it only rejects.
const METHODS: [&str; 20] = [
    "change_passwords",
    "create_backup",
    "create_database",
    "create_user",
    "delete_database",
    "delete_user",
    "disable_root",
    "enable_root_with_password",
    "get_user",
    "get_volume_info",
    "grant_access",
    "list_access",
    "list_databases",
    "list_users",
    "prepare",
    "restart",
    "revoke_access",
    "rpc_ping",
    "ssl_action",
    "update_attributes",
];

const CASTS: [&str; 6] = [
    "heartbeat_empty_payload",
    "heartbeat_healthy",
    "notify_end",
    "notify_exc_info",
    "report_root",
    "update_backup_completed",
];

/// All seeds.
pub fn all() -> Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    for mode in ["plain", "secure"] {
        for method in METHODS {
            let messages = captured(&format!("{method}.{mode}.json"))?;
            // Encrypted messages are all alike, so a few are enough.
            let wanted = mode == "plain" || ["create_user", "get_user", "prepare"].contains(&method);
            for (to, body) in messages.into_iter().filter(|_| wanted) {
                let target = if to.starts_with("reply_") { "reply" } else { "request" };
                seeds.push(Seed::new(target, &format!("{method}-{mode}"), body));
            }
        }
        for cast in CASTS {
            for (_, body) in captured(&format!("conductor.{cast}.{mode}.json"))? {
                seeds.push(Seed::new("conductor", &format!("{cast}-{mode}"), body));
            }
        }
    }
    seeds.extend(envelopes());
    seeds.extend(encrypted()?);
    for (target, texts) in [
        ("names", NAMES),
        ("transport_url", TRANSPORT_URLS),
        ("oslo_ini", OSLO_FILES),
        ("security", SECURITY),
        ("frame", FRAMES),
    ] {
        let numbered = texts.iter().enumerate();
        seeds.extend(numbered.map(|(number, text)| Seed::new(target, &format!("{number:02}"), *text)));
    }
    Ok(seeds)
}

/// Routing key and body of each message of a file.
fn captured(file: &str) -> Result<Vec<(String, String)>> {
    let path = workspace().join("protocol/fixtures").join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let capture: Value = serde_json::from_str(&text)?;
    let messages = capture["messages"].as_array().context("a capture without messages")?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("not as captures are");
    messages
        .iter()
        .map(|message| Ok((text(&message["routing_keys"][0])?, text(&message["body_raw"])?)))
        .collect()
}

fn envelopes() -> Vec<Seed> {
    let bodies = [
        r#"{"oslo.version": "2.0", "oslo.message": "{\"method\": \"rpc_ping\", \"args\": {}}"}"#,
        r#"{"oslo.version": "2.0", "new": [[{}]], "oslo.message": "{\"a\": [1, -1.5e3, null, true, \"\\u00e9\\u0000\"]}"}"#,
        r#"{"oslo.version": "3.0", "oslo.message": "[]"}"#,
        r#"{"method": "rpc_ping", "method": "restart", "args": {"a": "\ud83d\ude00\ud800"}}"#,
    ];
    let numbered = bodies.into_iter().enumerate();
    numbered.map(|(number, body)| Seed::new("envelope", &format!("{number:02}"), body)).collect()
}

/// Every encrypted argument of three captured messages, and plain texts to encrypt.
fn encrypted() -> Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    for method in ["create_user", "get_user", "list_users"] {
        for (_, body) in captured(&format!("{method}.secure.json"))? {
            let message = trove_couchdb_protocol::envelope::decode(body.as_bytes(), usize::MAX)?;
            let args = message.get("args").and_then(Value::as_object);
            for (name, value) in args.into_iter().flatten() {
                let text = value.as_str().context("an argument that is not encrypted")?;
                seeds.push(Seed::new("cipher", &format!("{method}-{name}"), text));
            }
        }
    }
    seeds.push(Seed::new(
        "cipher",
        "plain",
        r#"{"_name": "alice", "_databases": [{"_name": "db1"}], "n": 17}"#,
    ));
    Ok(seeds)
}

const NAMES: &[&str] = &[
    "alice",
    "Zoë/.. ?#%2f",
    "..",
    ".",
    "a/b+c$(d)-e_f",
    "_users",
    "a/_design",
    "%2e%2e",
    "a\r\nHost: b",
    "os_admin",
    "x?rev=1&a=b",
    "a\\b\u{202e}",
];

const TRANSPORT_URLS: &[&str] = &[
    "rabbit://stack:pw@10.0.0.5:5673/trove?heartbeat=30&a+b=c%20d&empty=&bare",
    "rabbit://a:1@h1:1111,h2,,b:2@[2001:db8::1]:2222,[::1],2001:db8::2/",
    "rabbits://us%40er:p%2C%2F%3A%40%23%C3%A9@h/my%2Fvhost?ssl=1&ssl_key_password=x",
    "u@realm:p:q%zz@h//",
    "zmq://h",
];

const OSLO_FILES: &[&str] = &[
    "[DEFAULT]\nguest_id=7be4c2d7-7a5b-4d1e-8a65-1a49c5a0a0b1\ndatastore_manager=postgresql\n\
     instance_rpc_encr_key=oj47q4kuzlRq7dAFMPggh1Lj5XClBLVU\n",
    "# Trove\n[DEFAULT]\ntransport_url = rabbit://u:p@h1:5672,u:p@h2/v?ssl=1\ncontrol_exchange = trove\n\
     [oslo_messaging_rabbit]\namqp_durable_queues = True\nrabbit_quorum_queue=true\nheartbeat_rate: 3\n\
     rabbit_qos_prefetch_count=0\n",
    "[DEFAULT]\na = 'one'\n  two\n\tthree\nb = $a ${DEFAULT.a} $$ \\$x\nreport_interval = $b\n",
    "[DEFAULT]\r\nlog_level=$l\r\nl = $log_level\r\n",
    "[mysql]\nignore_dbs = a, b\n[couchdb]\nignore_users=x,y\n",
];

const SECURITY: &[&str] = &[
    "{}",
    r#"{"members": {"roles": ["_admin"]}, "admins": {"roles": ["_admin"]}}"#,
    r#"{"members": {"names": ["al", "bo"], "roles": ["staff"]}, "admins": {"names": ["al"], "roles": []}, "x": {"al": [1]}}"#,
    r#"{"readers": {"names": ["al", "zoe", 5, null, "al"]}, "admins": {}}"#,
    r#"{"members": {"names": ["al"], "roles": "odd"}, "readers": {"names": ["al"]}}"#,
    r#"{"members": null, "admins": [], "readers": true}"#,
    r#"{"members": {"names": {"al": 1}, "roles": [[]]}, "couchdb_auth_only": true}"#,
    "[\"al\"]",
];

/// The first byte determines the sizes of the pieces in which the rest arrives.
const FRAMES: &[&str] = &[
    "\x03\0\0\0\x05hello\0\0\0\x01x",
    "\x01\0\0\0\x02{}\0\0\0\0",
    "\x40\0\0\x01\x2d too long",
    "\x02\0\0\0\x09cut",
];
