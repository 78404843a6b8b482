//! A valid envelope contains one object, and can be closed and opened again. Any other envelope is rejected
//! with a readable error.

use serde_json::{Value, json};
use trove_couchdb_protocol::envelope::{decode, encode};

use crate::{LIMIT, assert_readable, has_fraction};

/// Panics when the guarantee at the top of this file is broken.
pub fn holds(data: &[u8]) {
    open(data);
    // The second layer, because damage to the first layer rarely leaves it intact.
    if let Ok(text) = std::str::from_utf8(data) {
        let body = json!({"oslo.version": "2.0", "oslo.message": text}).to_string();
        open(body.as_bytes());
        let lax = serde_json::from_str::<Value>(text).is_ok_and(|message| message.is_object());
        assert!(lax || decode(body.as_bytes(), usize::MAX).is_err(), "taken, and no JSON object");
    }
}

fn open(body: &[u8]) {
    match decode(body, LIMIT) {
        Err(error) => {
            assert_readable(&error.to_string());
            assert_eq!(error.kind() == "too_large", body.len() > LIMIT);
        }
        Ok(message) => {
            let short = decode(body, body.len() - 1).map(|_| ()).map_err(|error| error.kind());
            assert_eq!(short, Err("too_large"));
            let message = Value::Object(message);
            if !has_fraction(&message) {
                assert_eq!(decode(&encode(&message), usize::MAX).map(Value::Object), Ok(message));
            }
        }
    }
}
