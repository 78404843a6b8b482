//! The exact form of replies. The captures and a Python test show that oslo can read them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::secret::Secret;

fn caller() -> ReplyAddress {
    ReplyAddress { msg_id: "m".into(), reply_queue: "reply_1".try_into().unwrap() }
}

fn message(body: &[u8]) -> Value {
    Value::Object(envelope::decode(body, usize::MAX).unwrap())
}

#[test]
fn a_result_has_five_keys() {
    let body = encode_reply(&caller(), "u", &Outcome::Success(json!([1])), None);
    let expected = json!({"result": [1], "failure": null, "ending": true, "_msg_id": "m", "_unique_id": "u"});
    assert_eq!(message(&body), expected);
}

/// Mutation: failure-with-a-traceback (docs/guarantees.md).
#[test]
fn a_failure_is_text_that_trove_shows_as_it_is() {
    let failure = Failure::new(FailureClass::UserNotFound, "there is no user \"alice\"");
    let body = encode_reply(&caller(), "u", &Outcome::Failure(failure), None);
    let message = message(&body);
    assert_eq!((&message["result"], &message["ending"]), (&Value::Null, &json!(true)));
    let inner: Value = serde_json::from_str(message["failure"].as_str().unwrap()).unwrap();
    let expected = json!({
        "class": "UserNotFound", "module": "trove_couchdb.error", "message": "there is no user \"alice\"",
        "tb": [], "args": [], "kwargs": {},
    });
    assert_eq!(inner, expected);
}

#[test]
fn oslos_own_failures_have_oslos_words() {
    let version = Failure::unsupported_version("9.0", "rpc_ping");
    assert_eq!(version.class, "UnsupportedVersion");
    assert_eq!(version.module, "oslo_messaging.rpc.dispatcher");
    assert_eq!(version.message, "Endpoint does not support RPC version 9.0. Attempted method: rpc_ping");
    assert_eq!(version.args, [json!(version.message)]);
    let method = Failure::from(&DecodeError::UnknownMethod("fly".into()));
    assert_eq!(method, Failure::no_such_method("fly"));
    assert_eq!(method.message, "Endpoint does not support RPC method fly");
    assert_eq!(Failure::from(&DecodeError::missing("users")).message, "`users` is missing or null");
}

#[test]
fn with_a_key_results_are_encrypted_and_failures_are_not() {
    let cipher = Cipher::new(&Secret::new("k"));
    for result in [json!(null), json!({"_password": "hunter2"})] {
        let body = encode_reply(&caller(), "u", &Outcome::Success(result.clone()), Some(&cipher));
        assert!(!String::from_utf8(body.clone()).unwrap().contains("hunter2"));
        assert_eq!(decode_reply(&body, Some(&cipher)).unwrap().outcome, Outcome::Success(result));
        let stranger = Cipher::new(&Secret::new("other"));
        assert_eq!(decode_reply(&body, Some(&stranger)).unwrap_err().kind(), "cipher");
    }
    let failure = Outcome::Failure(Failure::new(FailureClass::Busy, "b"));
    let body = encode_reply(&caller(), "u", &failure, Some(&cipher));
    assert_eq!(body, encode_reply(&caller(), "u", &failure, None));
    assert_eq!(decode_reply(&body, Some(&cipher)).unwrap().outcome, failure);
}

#[test]
fn a_beat_ends_nothing_and_is_never_encrypted() {
    let body = encode_call_monitor_beat(&caller(), "u");
    let cipher = Cipher::new(&Secret::new("k"));
    for cipher in [None, Some(&cipher)] {
        let beat = decode_reply(&body, cipher).unwrap();
        assert_eq!((beat.ending, beat.outcome), (false, Outcome::Success(Value::Null)));
    }
}

#[test]
fn a_reply_in_clear_is_refused_by_a_caller_with_a_key() {
    let cipher = Cipher::new(&Secret::new("k"));
    let body = encode_reply(&caller(), "u", &Outcome::Success(Value::Null), None);
    assert_eq!(decode_reply(&body, Some(&cipher)).unwrap_err().kind(), "cipher");
}

#[test]
fn ids_are_thirty_two_digits_and_differ() {
    let id = new_id();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{id}");
    assert_ne!(id, new_id());
}

proptest! {
    #[test]
    fn no_reply_panics(text in any::<String>(), body in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(decode_reply(&body, None));
        drop(decode_reply(&envelope::encode(&json!({"_msg_id": "m", "failure": text})), None));
    }

    #[test]
    fn every_failure_survives(class in any::<String>(), text in any::<String>()) {
        let outcome = Outcome::Failure(Failure { class, ..Failure::new(FailureClass::Busy, text) });
        let reply = decode_reply(&encode_reply(&caller(), "u", &outcome, None), None).unwrap();
        prop_assert_eq!(reply, Reply { msg_id: "m".into(), unique_id: Some("u".into()), outcome, ending: true });
    }
}
