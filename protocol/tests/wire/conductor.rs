//! Messages from real guests to the conductor, decoded and encoded again.

use serde_json::{Map, Value, json};
use trove_couchdb_protocol::{
    Context, envelope,
    trove::{ConductorCast, ServiceStatus},
};

use crate::captures::{self, Capture, Recipient};

/// Invalid messages, sent on purpose to test the conductor. The agent never sends such
/// messages, and decoding refuses them.
const NOT_OURS: [&str; 3] =
    ["conductor.heartbeat_bad_status", "conductor.heartbeat_upgrading", "conductor.heartbeat_no_sent"];

fn is_ours(capture: &Capture) -> bool {
    !NOT_OURS.iter().any(|name| capture.name.starts_with(name))
}

/// The unwrapped arguments of a captured message.
fn args(capture: &Capture) -> Map<String, Value> {
    let Some(wrapped) = capture.decrypted.get("args") else {
        return capture.message["args"].as_object().unwrap().clone();
    };
    let entity = |(name, value): (&String, &Value)| (name.clone(), value["entity"].clone());
    wrapped.as_object().unwrap().iter().map(entity).collect()
}

/// The context of a captured message.
fn context(capture: &Capture) -> Context {
    Context::new(match capture.decrypted.get("context") {
        Some(context) => context.as_object().unwrap().clone(),
        None => capture.prefixed("_context_"),
    })
}

#[test]
fn every_cast_of_a_guest_is_understood() {
    for capture in captures::to(Recipient::Conductor) {
        match ConductorCast::decode(&capture.body, capture.cipher.as_ref()) {
            Ok(cast) => {
                assert!(is_ours(&capture), "{}", capture.name);
                assert_eq!(capture.message["method"], cast.method(), "{}", capture.name);
            }
            Err(error) => {
                assert!(!is_ours(&capture), "{}: {error}", capture.name);
                assert!(["wrong_type", "missing_field"].contains(&error.kind()), "{}", capture.name);
            }
        }
    }
}

/// Encoding a decoded cast again gives the same method, version, arguments, wrapping and context.
#[test]
fn every_cast_is_written_again_as_it_was() {
    for capture in captures::to(Recipient::Conductor).iter().filter(|capture| is_ours(capture)) {
        let name = &capture.name;
        let cipher = capture.cipher.as_ref();
        let (args, context) = (args(capture), context(capture));
        let instance_id = instance_id(capture);
        let cast = ConductorCast::decode(&capture.body, cipher).unwrap();
        let ours = envelope::decode(&cast.encode(&instance_id, &context, cipher), usize::MAX).unwrap();

        let keys =
            |message: &Map<String, Value>| message.keys().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(keys(&ours), keys(&capture.message), "{name}");
        assert_eq!(keys(ours["args"].as_object().unwrap()), keys(&args), "{name}");
        assert_eq!(ours["method"], capture.message["method"], "{name}");
        assert_eq!(ours["version"], capture.message["version"], "{name}");

        let Some(cipher) = cipher else {
            for (key, value) in capture.prefixed("_context_") {
                assert_eq!(ours[&format!("_context_{key}")], value, "{name}: {key}");
            }
            for (argument, value) in &args {
                assert_argument(name, argument, &ours["args"][argument], value);
            }
            continue;
        };
        let instance_key = "_context_csz-instance-id";
        assert_eq!(ours[instance_key], capture.message[instance_key], "{name}");
        let sealed = cipher.decrypt_value(&ours["_context_context"]).unwrap();
        assert_eq!(Value::Object(context.entries().clone()), sealed, "{name}");
        for (argument, value) in &args {
            let wrapped: Value = serde_json::from_str(ours["args"][argument].as_str().unwrap()).unwrap();
            assert_eq!(wrapped["csz-instance-id"], instance_id, "{name}");
            assert_eq!(wrapped.as_object().unwrap().len(), 2, "{name}");
            assert_argument(name, argument, &cipher.decrypt_value(&wrapped["entity"]).unwrap(), value);
        }
    }
}

/// Every argument equals the captured one except `notification_args`: the agent leaves it empty, because the
/// notification contains everything.
fn assert_argument(name: &str, argument: &str, ours: &Value, theirs: &Value) {
    let expected = if argument == "notification_args" { &json!({}) } else { theirs };
    assert_eq!(ours, expected, "{name}: {argument}");
}

/// The sender's instance id; in clear, notifications contain it only inside.
fn instance_id(capture: &Capture) -> String {
    let args = args(capture);
    let notified = args.get("serialized_notification").map(|notification| &notification["instance_id"]);
    args.get("instance_id").or(notified).and_then(Value::as_str).unwrap().to_owned()
}

#[test]
fn every_status_that_can_be_sent_was_taken_by_the_conductor() {
    let captures = captures::to(Recipient::Conductor);
    let statuses: Vec<ServiceStatus> = captures
        .iter()
        .filter_map(|capture| match ConductorCast::decode(&capture.body, capture.cipher.as_ref()) {
            Ok(ConductorCast::Heartbeat { status, .. }) => status,
            _ => None,
        })
        .collect();
    for status in ServiceStatus::ALL {
        assert!(statuses.contains(&status), "{status}");
    }
}

#[test]
fn our_own_context_is_that_of_a_python_guest() {
    let captures = captures::to(Recipient::Conductor);
    for capture in captures.iter().filter(|capture| capture.name.starts_with("conductor.heartbeat_running")) {
        let theirs = context(capture);
        assert_eq!(Context::for_guest(theirs.request_id().unwrap()), theirs, "{}", capture.name);
    }
}
