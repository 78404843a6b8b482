//! The caller's side of a request, for the operator's tool and the tests.
//!
//! Mirrors `oslo_messaging/rpc/client.py` and `_drivers/amqpdriver.py` (`_send`). A call has `_msg_id`,
//! `_reply_q` and `_timeout` (null without call monitoring); a cast has none of them. With a key each
//! argument and the context are encrypted separately (`trove/common/rpc/secure_serializer.py`).

use std::fmt;

use serde_json::{Map, Value};

use crate::{address::ReplyAddress, cipher::Cipher, context::Context, envelope, oslo::id::new_id};

/// A request to send.
#[derive(Clone, PartialEq)]
pub struct NewRequest {
    /// The RPC method.
    pub method: String,
    /// The arguments by name.
    pub args: Map<String, Value>,
    /// The requested version, usually `1.0`; text, so that tests can send an invalid version.
    pub version: String,
    /// Identifies duplicate deliveries.
    pub unique_id: String,
    /// The sender.
    pub context: Context,
    /// The reply address; `None` makes the request a cast.
    pub call: Option<ReplyAddress>,
    /// Asks for beats while the call runs, at half of this interval in seconds (`call_monitor_timeout`).
    pub timeout: Option<u64>,
}

impl NewRequest {
    /// A cast of version 1.0 with a new id.
    pub fn new(method: &str, args: Map<String, Value>, context: Context) -> Self {
        Self {
            method: method.to_owned(),
            args,
            version: "1.0".to_owned(),
            unique_id: new_id(),
            context,
            call: None,
            timeout: None,
        }
    }

    /// Makes the request a call that is answered to `to`.
    #[must_use]
    pub fn answered_to(mut self, to: ReplyAddress) -> Self {
        self.call = Some(to);
        self
    }

    /// The body of the message.
    pub fn encode(&self, cipher: Option<&Cipher>) -> Vec<u8> {
        let sealed = |value: &Value| cipher.map_or_else(|| value.clone(), |key| key.encrypt(value).into());
        let args: Map<String, Value> =
            self.args.iter().map(|(name, value)| (name.clone(), sealed(value))).collect();
        let mut message = Map::new();
        message.insert("method".to_owned(), self.method.as_str().into());
        message.insert("args".to_owned(), args.into());
        message.insert("version".to_owned(), self.version.as_str().into());
        message.insert("_unique_id".to_owned(), self.unique_id.as_str().into());
        if let Some(ReplyAddress { msg_id, reply_queue }) = &self.call {
            message.insert("_msg_id".to_owned(), msg_id.as_str().into());
            message.insert("_reply_q".to_owned(), reply_queue.as_str().into());
            message.insert("_timeout".to_owned(), self.timeout.into());
        }
        self.context.encode_for_guest(&mut message, cipher);
        envelope::encode(&Value::Object(message))
    }
}

impl fmt::Debug for NewRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NewRequest")
            .field("method", &self.method)
            .field("version", &self.version)
            .field("args", &self.args.keys().collect::<Vec<_>>())
            .field("unique_id", &self.unique_id)
            .field("call", &self.call)
            .field("timeout", &self.timeout)
            .field("context", &self.context)
            .finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{request::Request, secret::Secret};

    fn request() -> NewRequest {
        let Value::Object(args) = json!({"users": [{"_name": "al", "_password": "hunter2"}], "limit": null})
        else {
            panic!("an object")
        };
        NewRequest::new("create_user", args, Context::for_operator("alice", "req-1"))
    }

    fn call() -> NewRequest {
        request().answered_to(ReplyAddress { msg_id: "m".into(), reply_queue: crate::ReplyQueue::local() })
    }

    #[test]
    fn what_is_encoded_is_what_the_guest_decodes() {
        let key = Cipher::new(&Secret::new("k"));
        for cipher in [None, Some(&key)] {
            for sent in [request(), call(), NewRequest { timeout: Some(4), ..call() }] {
                let read = Request::decode(&sent.encode(cipher), cipher, 100_000).unwrap();
                assert_eq!((read.method, &*read.args), (sent.method, &sent.args));
                assert_eq!((read.unique_id, read.reply), (Some(sent.unique_id), sent.call));
                assert_eq!((read.timeout, read.context), (sent.timeout, sent.context));
                assert_eq!(read.version.to_string(), sent.version);
            }
        }
    }

    #[test]
    fn only_a_call_has_the_keys_of_one() {
        let message = envelope::decode(&request().encode(None), usize::MAX).unwrap();
        assert!(["_msg_id", "_reply_q", "_timeout"].iter().all(|key| message.get(*key).is_none()));
        let message = envelope::decode(&call().encode(None), usize::MAX).unwrap();
        assert_eq!(message["_timeout"], Value::Null, "there, and null, as oslo sends it");
    }

    #[test]
    fn with_a_key_neither_arguments_nor_context_are_readable() {
        let body = String::from_utf8(call().encode(Some(&Cipher::new(&Secret::new("k"))))).unwrap();
        assert!(!body.contains("hunter2") && !body.contains("alice") && !body.contains("req-1"), "{body}");
        assert!(body.contains("_context_context") && !body.contains("csz-instance-id"), "{body}");
        assert!(!format!("{:?}", call()).contains("hunter2"));
    }
}
