//! The outermost layer of every body: `{"oslo.version": "2.0", "oslo.message": "<JSON text>"}`.
//!
//! The message inside the envelope is *text* and is parsed a second time
//! (`oslo_messaging/_drivers/common.py`, `serialize_msg` and `deserialize_msg`). Unlike oslo, this module
//! refuses messages without an envelope, a form that went out of use with version 1.0. Used by requests,
//! replies and conductor casts.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::{
    error::DecodeError,
    json::{self, Budget},
    version::RpcVersion,
};

/// The only version of the envelope that oslo ever sent (`_RPC_ENVELOPE_VERSION`).
const VERSION: RpcVersion = RpcVersion { major: 2, minor: 0 };

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "oslo.version")]
    version: String,
    #[serde(rename = "oslo.message")]
    message: String,
}

/// Takes a message out of its envelope. A body of more than `max_bytes` is refused without parsing.
pub fn decode(body: &[u8], max_bytes: usize) -> Result<Map<String, Value>, DecodeError> {
    decode_within(body, max_bytes, &mut Budget::unlimited())
}

/// Like [`decode`], with a limit on the number of values in the message.
pub(crate) fn decode_within(
    body: &[u8],
    max_bytes: usize,
    budget: &mut Budget,
) -> Result<Map<String, Value>, DecodeError> {
    if body.len() > max_bytes {
        return Err(DecodeError::TooLarge { size: body.len(), limit: max_bytes });
    }
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| {
        // A data error: the JSON is not an envelope, or it repeats a key.
        if error.is_data() { DecodeError::NoEnvelope } else { DecodeError::not_json("envelope", &error) }
    })?;
    let version: Option<RpcVersion> = envelope.version.parse().ok();
    if !version.is_some_and(|version| VERSION.accepts(&version)) {
        return Err(DecodeError::EnvelopeVersion(envelope.version));
    }
    let message = Zeroizing::new(envelope.message);
    let message =
        json::parse(message.as_bytes(), budget).map_err(|fault| DecodeError::unreadable("message", fault))?;
    match message {
        Value::Object(map) => Ok(map),
        _ => Err(DecodeError::wrong_type("oslo.message", "the text of a JSON object")),
    }
}

/// Puts a message into an envelope.
pub fn encode(message: &Value) -> Vec<u8> {
    json!({ "oslo.version": VERSION.to_string(), "oslo.message": message.to_string() })
        .to_string()
        .into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 10_000;

    fn refusal(body: &[u8]) -> DecodeError {
        decode(body, LIMIT).unwrap_err()
    }

    fn enveloped(version: &str, message: &str) -> Vec<u8> {
        json!({ "oslo.version": version, "oslo.message": message }).to_string().into_bytes()
    }

    #[test]
    fn a_message_is_text_inside_the_envelope() {
        let body = encode(&json!({"method": "rpc_ping"}));
        let read: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read, json!({"oslo.version": "2.0", "oslo.message": r#"{"method":"rpc_ping"}"#}));
        assert_eq!(Value::Object(decode(&body, LIMIT).unwrap()), json!({"method": "rpc_ping"}));
    }

    #[test]
    fn extra_keys_are_tolerated() {
        let body = br#"{"oslo.version": "2.0", "new": [[{}]], "oslo.message": "{\"a\": 1}"}"#;
        assert_eq!(Value::Object(decode(body, LIMIT).unwrap()), json!({"a": 1}));
    }

    #[test]
    fn each_fault_has_its_own_error() {
        assert_eq!(refusal(b"").kind(), "not_json");
        assert_eq!(refusal(b"\xff{}").kind(), "not_json");
        assert_eq!(refusal(b"[]"), DecodeError::NoEnvelope);
        assert_eq!(refusal(br#"{"method": "rpc_ping"}"#), DecodeError::NoEnvelope);
        assert_eq!(refusal(br#"{"oslo.version": 2.0, "oslo.message": "{}"}"#), DecodeError::NoEnvelope);
        assert_eq!(refusal(br#"{"oslo.version": "2.0", "oslo.message": {}}"#), DecodeError::NoEnvelope);
        let twice = br#"{"oslo.version": "2.0", "oslo.message": "{}", "oslo.message": "{}"}"#;
        assert_eq!(refusal(twice), DecodeError::NoEnvelope);
        for version in ["1.0", "2.1", "3.0", "", "x"] {
            assert_eq!(refusal(&enveloped(version, "{}")), DecodeError::EnvelopeVersion(version.to_owned()));
        }
        assert_eq!(refusal(&enveloped("2.0", "[]")).kind(), "wrong_type");
        assert_eq!(
            refusal(&enveloped("2.0", "{")),
            DecodeError::NotJson {
                part: "message",
                problem: "EOF while parsing an object".to_owned(),
                line: 1,
                column: 1
            }
        );
        assert_eq!(
            decode(&[b' '; LIMIT + 1], LIMIT),
            Err(DecodeError::TooLarge { size: LIMIT + 1, limit: LIMIT })
        );
    }

    #[test]
    fn json_that_would_hurt_is_refused() {
        let bomb = "[".repeat(5_000);
        assert_eq!(refusal(bomb.as_bytes()).kind(), "no_envelope");
        assert_eq!(refusal(&enveloped("2.0", &format!("{{\"a\": {bomb}"))).kind(), "not_json");
        assert_eq!(refusal(&enveloped("2.0", r#"{"a": "\ud800"}"#)).kind(), "not_json");
        assert_eq!(refusal(&enveloped("2.0", r#"{"a": 1e999}"#)).kind(), "not_json");
        assert_eq!(refusal(&enveloped("2.0", r#"{"a": NaN}"#)).kind(), "not_json");
        let nul = decode(&enveloped("2.0", r#"{"a\u0000": "\u0000"}"#), LIMIT).unwrap();
        assert_eq!(nul["a\0"], "\0");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..300), message in any::<String>()) {
            drop(decode(&body, 200));
            drop(decode(&enveloped("2.0", &message), LIMIT));
        }

        #[test]
        fn every_message_survives(key in any::<String>(), text in any::<String>(), number in any::<i64>()) {
            let message = json!({ key: [text, number, null] });
            prop_assert_eq!(Value::Object(decode(&encode(&message), usize::MAX).unwrap()), message);
        }
    }
}
