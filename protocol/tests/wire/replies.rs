//! Replies of real guests, decoded as a caller decodes them and encoded again.

use serde_json::{Value, json};
use trove_couchdb_protocol::{
    Cipher, Failure, Outcome, Reply, ReplyAddress, Secret, decode_reply, encode_call_monitor_beat,
    encode_reply, envelope,
};

use crate::captures::{self, Capture, Recipient};

fn reply(capture: &Capture) -> Reply {
    decode_reply(&capture.body, capture.cipher.as_ref())
        .unwrap_or_else(|error| panic!("{}: {error}", capture.name))
}

/// The outcome in the capture.
fn expected(capture: &Capture) -> Outcome {
    if let Some(failure) = capture.message["failure"].as_str() {
        let failure: Value = serde_json::from_str(failure).unwrap();
        let text = |key: &str| failure[key].as_str().unwrap().to_owned();
        let args = failure["args"].as_array().unwrap().clone();
        return Outcome::Failure(Failure {
            class: text("class"),
            module: text("module"),
            message: text("message"),
            args,
        });
    }
    Outcome::Success(capture.decrypted.get("result").unwrap_or(&capture.message["result"]).clone())
}

#[test]
fn every_reply_holds_what_its_capture_says() {
    for capture in captures::to(Recipient::Caller) {
        let reply = reply(&capture);
        assert_eq!(reply.outcome, expected(&capture), "{}", capture.name);
        assert_eq!(capture.message["_msg_id"], reply.msg_id, "{}", capture.name);
        assert_eq!(capture.message["_unique_id"], reply.unique_id.unwrap(), "{}", capture.name);
        assert_eq!(capture.message["ending"], reply.ending, "{}", capture.name);
    }
}

/// Encoding a decoded reply again gives the same keys and values; encrypted results differ only
/// in the random initialisation vector.
///
/// Mutation: reply-does-not-end (docs/guarantees.md).
#[test]
fn every_reply_is_written_again_as_it_was() {
    for capture in captures::to(Recipient::Caller) {
        let reply = reply(&capture);
        let unique_id = reply.unique_id.as_deref().unwrap();
        let to = ReplyAddress {
            msg_id: reply.msg_id.clone(),
            reply_queue: capture.routing_key.as_str().try_into().unwrap(),
        };
        let body = if reply.ending {
            encode_reply(&to, unique_id, &reply.outcome, capture.cipher.as_ref())
        } else {
            encode_call_monitor_beat(&to, unique_id)
        };
        let mut ours = envelope::decode(&body, usize::MAX).unwrap();
        let mut theirs = capture.message.clone();
        if let (Some(cipher), Some(sealed)) = (&capture.cipher, ours["result"].as_str()) {
            assert_eq!(cipher.decrypt(sealed).unwrap(), capture.decrypted["result"], "{}", capture.name);
            theirs["result"] = ours["result"].clone();
        }
        for message in [&mut ours, &mut theirs] {
            if let Some(failure) = message["failure"].as_str() {
                let mut failure: Value = serde_json::from_str(failure).unwrap();
                // The agent sends no traceback: Trove would show it to the user.
                failure["tb"] = json!([]);
                message["failure"] = failure;
            }
        }
        assert_eq!(ours, theirs, "{}", capture.name);
    }
}

#[test]
fn oslos_refusal_of_a_version_is_word_for_word_ours() {
    for capture in captures::to(Recipient::Caller) {
        if capture.name.starts_with("unsupported_version") {
            let ours = Failure::unsupported_version("9.0", "rpc_ping");
            assert_eq!(expected(&capture), Outcome::Failure(ours), "{}", capture.name);
        }
    }
}

#[test]
fn beats_come_before_the_answer_and_are_never_encrypted() {
    for mode in ["plain", "secure"] {
        let beats: Vec<bool> = captures::to(Recipient::Caller)
            .iter()
            .filter(|capture| capture.name.starts_with(&format!("call_monitor_timeout.{mode}")))
            .map(|capture| reply(capture).ending)
            .collect();
        assert_eq!(beats, [false, false, true], "{mode}");
    }
}

/// Python passes on results that do not decrypt, so it accepts a guest with a
/// wrong key; the cipher here refuses them.
#[test]
fn results_of_a_guest_with_a_wrong_key_do_not_decrypt() {
    let files = captures::files("txt");
    let (_, text) = files.iter().find(|(name, _)| name.starts_with("secure-instance-guest-wrong")).unwrap();
    let cipher = Cipher::new(&Secret::new("oj47q4kuzlRq7dAFMPggh1Lj5XClBLVU"));
    let sealed: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("guest-wrongkey"))
        .map(|line| line.split('\'').nth(1).unwrap())
        .collect();
    assert_eq!(sealed.len(), 4);
    for sealed in sealed {
        let body =
            envelope::encode(&json!({"result": sealed, "failure": null, "ending": true, "_msg_id": "m"}));
        assert_eq!(decode_reply(&body, Some(&cipher)).unwrap_err().kind(), "cipher", "{sealed}");
    }
}
