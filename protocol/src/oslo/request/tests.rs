//! Valid requests, refused requests, and replies to refused calls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::needless_pass_by_value)] // `json!(…)` as an argument reads best without a borrow

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::secret::Secret;

const LIMIT: usize = 100_000;

/// A call with all of Trove's fields and some keys replaced.
fn call(changes: Value) -> Vec<u8> {
    let mut message = json!({
        "method": "get_user", "args": {"username": "alice", "hostname": "%"}, "version": "1.0",
        "_msg_id": "m", "_reply_q": "reply_1", "_timeout": null, "_unique_id": "u", "_context_user": "bob",
    });
    message.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    envelope::encode(&message)
}

fn decode(changes: Value) -> Request {
    Request::decode(&call(changes), None, LIMIT).unwrap()
}

fn refusal(changes: Value) -> Box<Undecodable> {
    Request::decode(&call(changes), None, LIMIT).unwrap_err()
}

fn address() -> ReplyAddress {
    ReplyAddress { msg_id: "m".into(), reply_queue: "reply_1".try_into().unwrap() }
}

#[test]
fn a_call_has_an_address_and_a_cast_has_none() {
    assert_eq!(decode(json!({})).reply, Some(address()));
    assert_eq!(decode(json!({"_msg_id": null})).reply, None);
    assert_eq!(decode(json!({"_msg_id": ""})).reply, None);
}

#[test]
fn what_may_be_left_out_has_oslos_defaults() {
    let request = decode(json!({"args": null, "version": null, "_unique_id": null}));
    assert!(request.args.is_empty());
    assert_eq!(request.version, RpcVersion { major: 1, minor: 0 });
    assert_eq!((request.unique_id, request.namespace, request.timeout), (None, None, None));
    let request =
        decode(json!({"namespace": "n", "_timeout": 4, "version": "9.0", "_extra": [1], "new": {}}));
    assert_eq!((request.namespace.as_deref(), request.timeout), (Some("n"), Some(4)));
    assert_eq!(request.version, RpcVersion { major: 9, minor: 0 });
}

#[test]
fn every_wrong_type_is_named_and_still_answered() {
    let wrong = [
        ("method", json!(5), "`method` must be text"),
        ("method", json!(null), "`method` is missing or null"),
        ("args", json!([1]), "`args` must be an object"),
        ("version", json!(1.0), "`version` must be text"),
        ("version", json!("x"), "RPC version x is not supported, this guest serves 1.0 to 1.3"),
        ("namespace", json!({}), "`namespace` must be text"),
    ];
    for (key, value, message) in wrong {
        let refused = refusal(json!({ key: value }));
        assert_eq!(refused.error.to_string(), message);
        assert_eq!((refused.reply, refused.unique_id), (Some(address()), Some("u".into())), "{message}");
    }
    assert_eq!(refusal(json!({"_unique_id": 5})).reply, Some(address()));
}

#[test]
fn a_call_whose_address_is_broken_cannot_be_answered() {
    let refused = refusal(json!({"_msg_id": 5}));
    assert_eq!((refused.to_string().as_str(), refused.reply), ("`_msg_id` must be text", None));
    let refused = refusal(json!({"_reply_q": null}));
    assert_eq!((refused.to_string().as_str(), refused.reply), ("`_reply_q` is missing or null", None));
}

#[test]
fn an_oversized_call_is_answered_up_to_sixteen_times_the_limit() {
    let body = call(json!({"args": {"users": "x".repeat(5_000)}}));
    let refused = Request::decode(&body, None, 1_000).unwrap_err();
    assert_eq!(refused.error, DecodeError::TooLarge { size: body.len(), limit: 1_000 });
    assert_eq!(refused.reply, Some(address()));
    assert_eq!(Request::decode(&body, None, 100).unwrap_err().reply, None);
}

#[test]
fn with_a_key_everything_must_be_encrypted_with_it() {
    let cipher = Cipher::new(&Secret::new("k"));
    let stranger = Cipher::new(&Secret::new("other"));
    let context = cipher.encrypt(&json!({"user": "bob"}));
    let sealed = |args: Value| {
        Request::decode(&call(json!({"args": args, "_context_context": context})), Some(&cipher), LIMIT)
    };
    let request = sealed(json!({"username": cipher.encrypt(&json!("alice"))})).unwrap();
    assert_eq!(request.args["username"], "alice");
    assert_eq!(request.context.user(), Some("bob"));

    let refusals = [
        (json!("alice"), "`a` is not an encrypted value: it must be base64 of whole AES blocks"),
        (json!(null), "`a` must be encrypted, as this guest has an instance_rpc_encr_key"),
        (json!({"x": 1}), "`a` must be encrypted, as this guest has an instance_rpc_encr_key"),
        (json!(stranger.encrypt(&json!(1))), "`a` does not decrypt with this guest's instance_rpc_encr_key"),
    ];
    for (value, message) in refusals {
        let refused = sealed(json!({ "a": value })).unwrap_err();
        assert_eq!(refused.to_string(), message);
        assert_eq!(refused.reply, Some(address()));
    }
    let clear = Request::decode(&call(json!({"args": {}})), Some(&cipher), LIMIT).unwrap_err();
    assert_eq!(clear.to_string(), "`context` must be encrypted, as this guest has an instance_rpc_encr_key");
}

#[test]
fn debug_shows_names_of_arguments_only() {
    let request = decode(json!({"args": {"password": "hunter2"}, "_context_auth_token": "hunter2"}));
    let text = format!("{request:?}");
    assert!(text.contains("\"password\"") && !text.contains("hunter2"), "{text}");
}

#[test]
fn hostile_json_is_an_error_that_is_answered() {
    for rest in
        [r#""\ud800""#.to_owned(), "1e999".to_owned(), format!("{}{}", "[".repeat(500), "]".repeat(500))]
    {
        let message =
            format!(r#"{{"method": "a", "args": {{"a": {rest}}}, "_msg_id": "m", "_reply_q": "reply_1"}}"#);
        let body = json!({"oslo.version": "2.0", "oslo.message": message}).to_string();
        let refused = Request::decode(body.as_bytes(), None, LIMIT).unwrap_err();
        assert_eq!((refused.error.kind(), refused.reply), ("not_json", Some(address())), "{rest:.20}");
    }
    let nul = decode(json!({"method": "b", "args": {"\0": "\0"}}));
    assert_eq!((nul.method.as_str(), &nul.args["\0"]), ("b", &json!("\0")));
}

/// Mutation: with `serde_json::from_str` in `envelope`, the logged value and the executed value could differ.
#[test]
fn a_key_that_is_there_twice_is_refused_wherever_it_is() {
    let ids = r#""_msg_id": "m", "_reply_q": "reply_1""#;
    for (message, key) in [
        (format!(r#"{{"method": "get_user", "method": "delete_user", "args": {{}}, {ids}}}"#), "method"),
        (format!(r#"{{"method": "a", "args": {{"username": "a", "username": "b"}}, {ids}}}"#), "username"),
        (format!(r#"{{"method": "a", "args": {{"x": [{{"_name": 1, "\u005fname": 1}}]}}, {ids}}}"#), "_name"),
        (format!(r#"{{"method": "a", "_context_user": "a", "_context_user": "b", {ids}}}"#), "_context_user"),
    ] {
        let body = json!({"oslo.version": "2.0", "oslo.message": message}).to_string();
        let refused = Request::decode(body.as_bytes(), None, LIMIT).unwrap_err();
        let expected = format!("the message has the key `{key}` twice in one object");
        assert_eq!((refused.to_string(), refused.reply), (expected, Some(address())));
    }
    let two_callers = format!(r#"{{"method": "a", {ids}, "_reply_q": "reply_2"}}"#);
    let body = json!({"oslo.version": "2.0", "oslo.message": two_callers}).to_string();
    let refused = Request::decode(body.as_bytes(), None, LIMIT).unwrap_err();
    assert_eq!((refused.error.kind(), refused.reply), ("repeated_key", None), "neither is told");
}

#[test]
fn values_beyond_the_limit_are_refused_and_answered() {
    let body = call(json!({"args": {"users": vec![0; MAX_VALUES]}}));
    let refused = Request::decode(&body, None, 10 * LIMIT).unwrap_err();
    assert_eq!(refused.to_string(), "the message holds more than 50000 values; ask for fewer things at once");
    assert_eq!(refused.reply, Some(address()));

    let cipher = Cipher::new(&Secret::new("k"));
    let half = cipher.encrypt(&json!(vec![0; MAX_VALUES / 2]));
    let sealed = json!({"args": {"a": half, "b": half}, "_context_context": cipher.encrypt(&json!({}))});
    let refused = Request::decode(&call(sealed), Some(&cipher), 10 * LIMIT).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`b` brings the message to more than 50000 values; ask for fewer things at once"
    );
    assert_eq!(refused.reply, Some(address()));
}

#[test]
fn numbers_beyond_all_bounds_are_refused() {
    let huge = "9".repeat(400);
    let message = format!(r#"{{"method": "a", "_timeout": {huge}, "_msg_id": "m", "_reply_q": "reply_1"}}"#);
    let body = json!({"oslo.version": "2.0", "oslo.message": message}).to_string();
    let refused = Request::decode(body.as_bytes(), None, LIMIT).unwrap_err();
    assert!(refused.to_string().contains("number out of range"), "{refused}");
    assert_eq!(refused.reply, Some(address()));
    assert_eq!(decode(json!({"_timeout": u64::MAX})).timeout, Some(u64::MAX));
}

#[test]
fn a_timeout_that_is_none_does_not_cost_the_call() {
    for (timeout, read) in [
        (json!(2.5), Some(2)),
        (json!("4"), Some(4)),
        (json!(-1), None),
        (json!(1e30), None),
        (json!("soon"), None),
        (json!({"s": 4}), None),
    ] {
        let request = decode(json!({ "_timeout": timeout }));
        assert_eq!((request.timeout, request.reply), (read, Some(address())), "{timeout}");
    }
}

proptest! {
    #[test]
    fn no_damage_to_a_real_message_panics(at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut body = call(json!({}));
        let index = at.index(body.len());
        if cut { body.truncate(index) } else { body[index] = byte }
        let cipher = Cipher::new(&Secret::new("k"));
        drop(Request::decode(&body, None, LIMIT));
        drop(Request::decode(&body, Some(&cipher), LIMIT));
    }

    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Request::decode(&body, None, 200).is_err());
    }
}
