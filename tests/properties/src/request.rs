//! A request is read completely or rejected with a readable error. With a key, only requests that were
//! encrypted with it are read; without a key, no encrypted request is. An error reply goes to the queue that
//! the request names and to no other.

use serde_json::{Map, Value};
use trove_couchdb_agent::commands;
use trove_couchdb_protocol::{
    Cipher, Disclosure, Failure, Outcome, Request, Undecodable, decode_reply, encode_reply, envelope,
    trove::{Method, UserAction},
};

use crate::{LIMIT, assert_readable, cipher_of_captures, has_fraction};

/// AMQP's limit for queue names.
const MAX_QUEUE: usize = 255;

/// Panics when the guarantee at the top of this file is broken.
pub fn holds(data: &[u8]) {
    let cipher = cipher_of_captures();
    let clear = read(data, None);
    let sealed = read(data, Some(&cipher));
    assert!(clear.is_none() || sealed.is_none(), "the same message is encrypted and is not");
    // Decryption rejects almost every damaged message. So this damages the plain text and encrypts it afterwards, as a
    // sender with the key could.
    if let Ok(message) = envelope::decode(data, LIMIT) {
        seal(message, &cipher, clear.as_ref());
    }
    // The message without its envelope, for the same reason.
    if let Ok(Value::Object(message)) = serde_json::from_slice(data) {
        read(&envelope::encode(&Value::Object(message)), None);
    }
}

fn read(body: &[u8], cipher: Option<&Cipher>) -> Option<Request> {
    match Request::decode(body, cipher, LIMIT) {
        Ok(request) => {
            let message = envelope::decode(body, LIMIT).unwrap_or_default();
            assert_eq!(is_sealed(&message), cipher.is_some());
            assert!(
                request.method.len() <= 128 && request.unique_id.as_ref().is_none_or(|id| id.len() <= 128)
            );
            assert_address(request.reply.as_ref(), &message);
            assert_no_values(&request);
            understand(&request);
            Some(request)
        }
        Err(undecodable) => {
            let Undecodable { reply, error, .. } = *undecodable;
            assert_readable(&error.to_string());
            assert_readable(&Failure::from(&error).message);
            if let Some(address) = reply {
                assert!(!address.msg_id.is_empty() && address.msg_id.len() <= MAX_QUEUE);
                let queue = address.reply_queue.as_str();
                assert!(!queue.is_empty() && queue.len() <= MAX_QUEUE && !queue.starts_with("amq."));
                let body = encode_reply(&address, "u", &Outcome::Failure(Failure::from(&error)), cipher);
                assert_eq!(decode_reply(&body, cipher).map(|reply| reply.msg_id), Ok(address.msg_id));
            }
            None
        }
    }
}

fn is_sealed(message: &Map<String, Value>) -> bool {
    let is_text = |value: &Value| value.is_string();
    let args = message.get("args").and_then(Value::as_object);
    message.get("_context_context").is_some_and(is_text) && args.is_none_or(|args| args.values().all(is_text))
}

fn assert_address(reply: Option<&trove_couchdb_protocol::ReplyAddress>, message: &Map<String, Value>) {
    let text = |key: &str| message.get(key).and_then(Value::as_str);
    let named = text("_msg_id").filter(|id| !id.is_empty()).zip(text("_reply_q"));
    assert_eq!(reply.map(|reply| (reply.msg_id.as_str(), reply.reply_queue.as_str())), named);
}

/// Logs may show `Debug` output, so it must not contain the arguments' values: they may be passwords.
fn assert_no_values(request: &Request) {
    let mut masked = request.clone();
    masked.args.values_mut().for_each(|value| *value = Value::Null);
    assert_eq!(format!("{request:?}"), format!("{masked:?}"));
}

fn understand(request: &Request) {
    match commands::of_request(request, UserAction::of(&request.context)) {
        Ok(command) => assert_eq!(Method::from_name(&request.method), Some(command.method())),
        Err(error) => {
            assert_readable(&error.to_string());
            assert_eq!(error.kind() == "unknown_method", Method::from_name(&request.method).is_none());
        }
    }
}

/// Encrypts a message as Trove does: the result must decode to the same request as the plain message.
fn seal(message: Map<String, Value>, cipher: &Cipher, clear: Option<&Request>) {
    if has_fraction(&Value::Object(message.clone())) {
        return;
    }
    let (mut sealed, mut context) = (Map::new(), Map::new());
    for (key, value) in message {
        match (key.strip_prefix("_context_"), value) {
            (Some(name), value) => drop(context.insert(name.to_owned(), value)),
            (None, Value::Object(args)) if key == "args" => {
                let args = args.iter().map(|(name, value)| (name.clone(), cipher.encrypt(value).into()));
                sealed.insert(key, Value::Object(args.collect()));
            }
            (None, value) => drop(sealed.insert(key, value)),
        }
    }
    sealed.insert("_context_context".to_owned(), cipher.encrypt(&Value::Object(context)).into());
    let body = envelope::encode(&Value::Object(sealed));
    let read = read(&body, Some(cipher));
    if let Some(clear) = clear
        && body.len() <= LIMIT
    {
        let seals = read.as_ref().map(|read| read.seals.len());
        assert_eq!(seals, Some(clear.args.len() + 1), "each argument and the context leaves its mark");
        assert!(read.as_ref().is_none_or(|read| read.disclosure == Disclosure::Sealed));
        let as_in_clear =
            read.map(|read| Request { seals: Vec::new(), disclosure: clear.disclosure, ..read });
        assert_eq!(as_in_clear.as_ref(), Some(clear), "it says something else when it is encrypted");
    }
}
