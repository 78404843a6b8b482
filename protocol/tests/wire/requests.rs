//! Requests to guests, and requests to the taskmanager, which have the same form.

use serde_json::Value;
use trove_couchdb_protocol::{Context, Request, trove::Method, version::SERVED};

use crate::captures::{self, Capture, Recipient};

/// In bytes; the largest captured request has about 8 kB.
const LIMIT: usize = 1 << 16;

fn request(capture: &Capture) -> Request {
    Request::decode(&capture.body, capture.cipher.as_ref(), LIMIT)
        .unwrap_or_else(|refused| panic!("{}: {refused}", capture.name))
}

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

#[test]
fn every_request_holds_what_its_capture_says() {
    for capture in captures::to(Recipient::Guest).iter().chain(&captures::to(Recipient::Taskmanager)) {
        let (request, message) = (request(capture), &capture.message);
        let name = &capture.name;
        assert_eq!(text(&message["method"]), Some(request.method.as_str()), "{name}");
        assert_eq!(text(&message["version"]), Some(request.version.to_string().as_str()), "{name}");
        assert_eq!(text(&message["_unique_id"]), request.unique_id.as_deref(), "{name}");
        assert_eq!(message.get("_timeout").and_then(Value::as_u64), request.timeout, "{name}");
        assert_eq!(request.namespace, None, "{name}");

        let reply = request.reply.as_ref();
        assert_eq!(message.get("_msg_id").and_then(text), reply.map(|to| to.msg_id.as_str()), "{name}");
        assert_eq!(message.get("_reply_q").and_then(text), reply.map(|to| to.reply_queue.as_str()), "{name}");

        let (args, context) = if capture.cipher.is_some() {
            // A capture without arguments omits the decrypted `args`.
            let args = capture.decrypted.get("args").unwrap_or(&message["args"]);
            (args.clone(), capture.decrypted["context"].as_object().unwrap().clone())
        } else {
            (message["args"].clone(), capture.prefixed("_context_"))
        };
        assert_eq!(*request.args, *args.as_object().unwrap(), "{name}");
        assert_eq!(request.context, Context::new(context), "{name}");
        assert!(request.context.request_id().is_some_and(|id| id.starts_with("req-")), "{name}");
        assert_eq!(request.context.project_id(), Some("e2e-tenant"), "{name}");
    }
}

#[test]
fn encrypted_requests_need_the_key_and_clear_ones_must_come_to_a_guest_without() {
    let all = captures::to(Recipient::Guest);
    let another = trove_couchdb_protocol::Cipher::new(&trove_couchdb_protocol::Secret::new("another"));
    for capture in &all {
        let other = if capture.cipher.is_some() { [None, Some(&another)] } else { [Some(&another); 2] };
        for cipher in other {
            let refused = Request::decode(&capture.body, cipher, LIMIT).unwrap_err();
            assert!(
                ["cipher", "missing_field"].contains(&refused.error.kind()),
                "{}: {refused}",
                capture.name
            );
            assert_eq!(refused.reply.is_some(), capture.message.contains_key("_msg_id"), "{}", capture.name);
            assert!(refused.unique_id.is_some(), "{}", capture.name);
        }
    }
}

#[test]
fn every_request_to_a_guest_is_of_a_served_version() {
    for capture in captures::to(Recipient::Guest) {
        let request = request(&capture);
        let served = !capture.name.starts_with("unsupported_version");
        assert_eq!(SERVED.accepts(&request.version), served, "{}", capture.name);
        let method = Method::from_name(&request.method).expect("a method of the table");
        for argument in request.args.keys() {
            assert!(method.arguments().contains(&argument.as_str()), "{}: {argument}", capture.name);
        }
    }
}

#[test]
fn every_method_of_the_table_was_captured() {
    let captured: Vec<String> = captures::to(Recipient::Guest).iter().map(|c| request(c).method).collect();
    for method in Method::ALL.iter().filter(|method| !method.is_own()) {
        assert!(captured.iter().any(|name| name == method.name()), "{}", method.name());
    }
}

#[test]
fn no_damage_to_a_captured_request_panics() {
    let captures = captures::to(Recipient::Guest);
    let one = captures.iter().find(|capture| capture.name.starts_with("create_user.secure")).unwrap();
    for index in 0..one.body.len() {
        let mut damaged = one.body.clone();
        damaged[index] ^= 0x10;
        // Only changes to the envelope's names, insignificant white space and the clear ids can go unnoticed.
        if let Ok(request) = Request::decode(&damaged, one.cipher.as_ref(), LIMIT) {
            assert!(!request.method.is_empty());
        }
        let truncated = Request::decode(&one.body[..index], one.cipher.as_ref(), LIMIT);
        assert_eq!(truncated.unwrap_err().error.kind(), "not_json", "cut at {index}");
    }
}
