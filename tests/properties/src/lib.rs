//! Guarantees for arbitrary input, one function for each parser: each panics if its guarantee is broken.
//!
//! ```text
//! fuzz/corpus/TARGET/*  --->  tests/replay.rs  --+
//! proptest's damage     --->  tests/damage.rs  --+-->  TARGETS: TARGET -> fn(&[u8])
//! libFuzzer             --->  fuzz/            --+
//! ```
//!
//! The fuzzer runs for hours. `cargo test` runs the same functions for seconds, on the fuzzer's findings and on seeds
//! that `src/bin/seeds.rs` creates from captures of a real Trove. docs/fuzzing.md describes how to run both, and the
//! results.

#![allow(clippy::missing_panics_doc)] // panicking is what these functions are for

mod cipher;
mod conductor;
mod envelope;
mod frame;
mod names;
mod oslo_ini;
mod reply;
mod request;
mod security;
pub mod seeds;
mod transport_url;

pub use self::{
    cipher::holds as cipher, conductor::holds as conductor, envelope::holds as envelope,
    frame::holds as frame, names::holds as names, oslo_ini::holds as oslo_ini, reply::holds as reply,
    request::holds as request, security::holds as security, transport_url::holds as transport_url,
};

use serde_json::Value;
use trove_couchdb_protocol::{Cipher, Secret};

/// One parser and its guarantee.
pub type Target = (&'static str, fn(&[u8]));

/// All parsers, by their names in the fuzzer and the corpora.
pub const TARGETS: &[Target] = &[
    ("cipher", cipher),
    ("conductor", conductor),
    ("envelope", envelope),
    ("frame", frame),
    ("names", names),
    ("oslo_ini", oslo_ini),
    ("reply", reply),
    ("request", request),
    ("security", security),
    ("transport_url", transport_url),
];

/// The key of the captured encrypted messages: with it, the plain text can be damaged as well.
pub const KEY: &str = "oj47q4kuzlRq7dAFMPggh1Lj5XClBLVU";

/// The size limit of messages in these tests, lower than the fuzzer's largest input.
const LIMIT: usize = 60_000;

fn cipher_of_captures() -> Cipher {
    Cipher::new(&Secret::new(KEY))
}

/// A text for operators or users must be one short line without control characters.
fn assert_readable(message: &str) {
    assert!(!message.is_empty() && message.len() < 1_000, "{} bytes: {message:.200}", message.len());
    assert!(!message.contains(char::is_control), "control characters: {message:?}");
}

/// Whether the value contains a number with a fraction; `serde_json` may change the last digit of such a number.
fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(entries) => entries.values().any(has_fraction),
        _ => false,
    }
}
