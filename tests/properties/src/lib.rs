//! What must hold whatever bytes come in, one function for each door: each panics when its guarantee is broken.
//!
//! ```text
//! fuzz/corpus/TARGET/*  --->  tests/replay.rs  --+
//! proptest's damage     --->  tests/damage.rs  --+-->  TARGETS: TARGET -> fn(&[u8])
//! libFuzzer             --->  fuzz/            --+
//! ```
//!
//! So what the fuzzer tries for hours, `cargo test` tries for seconds, on what was found and on the seeds that
//! `src/bin/seeds.rs` makes from captures of a real Trove. docs/fuzzing.md says how to run both and what came of it.

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

/// One door and its guarantee.
pub type Target = (&'static str, fn(&[u8]));

/// All doors, by the names under which the fuzzer and the corpora know them.
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

/// The key of the captured encrypted messages: with it, damage to them is damage behind the encryption.
pub const KEY: &str = "oj47q4kuzlRq7dAFMPggh1Lj5XClBLVU";

/// The limit on messages in these tests, below what the fuzzer sends at most.
const LIMIT: usize = 60_000;

fn cipher_of_captures() -> Cipher {
    Cipher::new(&Secret::new(KEY))
}

/// What an operator or a user reads must be one short line without tricks.
fn assert_readable(message: &str) {
    assert!(!message.is_empty() && message.len() < 1_000, "{} bytes: {message:.200}", message.len());
    assert!(!message.contains(char::is_control), "control characters: {message:?}");
}

/// Whether a number with a fraction is in it; `serde_json` may change such a number's last digit when reading it.
fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(entries) => entries.values().any(has_fraction),
        _ => false,
    }
}
