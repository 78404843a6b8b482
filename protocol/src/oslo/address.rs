//! The reply address of a request, and how to find it in an unreadable message.
//!
//! A caller that gets no reply waits until its timeout and then reports only the timeout to its user. So
//! `Sender::probe` searches every refused request again, leniently, for the fields that a reply needs. It
//! builds nothing else, so the size and nesting of the rest do not matter.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::id::new_id;
use crate::{error::DecodeError, trove::Method};

/// A body may exceed the size limit by this factor and is still searched for its sender.
const SEARCHED: usize = 16;

/// AMQP's limit on queue names, in bytes.
const MAX_QUEUE: usize = 255;

/// The prefix of the broker's own queues in AMQP 0-9-1. No caller can declare such a queue,
/// and publishing to some of them has side effects: a made-up `amq.rabbitmq.reply-to.…`
/// crashes RabbitMQ's side of the connection.
const OF_THE_BROKER: &str = "amq.";

/// The rule for reply queues, for error messages.
pub(crate) const REPLY_QUEUE: &str =
    "the name of a queue, at most 255 bytes long, and none that begins with `amq.`";

/// The name of a queue that replies may be published to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplyQueue(String);

impl ReplyQueue {
    /// `None` if no caller can own a queue of this name.
    pub fn new(name: &str) -> Option<Self> {
        let possible = !name.is_empty() && name.len() <= MAX_QUEUE && !name.starts_with(OF_THE_BROKER);
        possible.then(|| Self(name.to_owned()))
    }

    /// A unique name in oslo.messaging's form.
    pub fn unique() -> Self {
        Self(format!("reply_{}", new_id()))
    }

    /// For the local socket, which has no queues: the reply goes to the client that asked.
    pub fn local() -> Self {
        Self("local".to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for ReplyQueue {
    type Error = DecodeError;

    fn try_from(name: &str) -> Result<Self, DecodeError> {
        Self::new(name).ok_or_else(|| DecodeError::wrong_type("_reply_q", REPLY_QUEUE))
    }
}

/// The reply address of a call; a cast has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyAddress {
    /// The id by which the caller matches the reply (`_msg_id`).
    pub msg_id: String,
    /// The caller's queue on the default exchange (`_reply_q`).
    pub reply_queue: ReplyQueue,
}

impl ReplyAddress {
    /// Without an id oslo sends no reply (`amqpdriver.py`,
    /// `AMQPIncomingMessage.reply`), and neither does the agent.
    fn new(msg_id: Option<String>, reply_queue: Option<String>) -> Option<Self> {
        let msg_id = msg_id.filter(|id| !id.is_empty() && id.len() <= MAX_QUEUE)?;
        Some(Self { msg_id, reply_queue: ReplyQueue::new(&reply_queue?)? })
    }
}

/// The sender of a message, as far as it could be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) reply: Option<ReplyAddress>,
    pub(crate) unique_id: Option<String>,
    pub(crate) method: Option<Method>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "oslo.message", borrow)]
    message: Cow<'a, str>,
}

/// The fields that the probe searches for.
#[derive(Default)]
struct Ids {
    msg_id: Id,
    reply_queue: Id,
    unique_id: Id,
    method: Id,
}

/// A repeated field counts as absent, because its value is ambiguous. The other fields still count.
#[derive(Default)]
enum Id {
    #[default]
    Absent,
    Once(Option<String>),
    Twice,
}

impl Id {
    fn add(&mut self, text: Option<String>) {
        *self = if matches!(self, Self::Absent) { Self::Once(text) } else { Self::Twice };
    }

    fn text(self) -> Option<String> {
        if let Self::Once(text) = self { text } else { None }
    }
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Message;

        impl<'de> Visitor<'de> for Message {
            type Value = Ids;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Ids, A::Error> {
                let mut ids = Ids::default();
                while let Some(key) = entries.next_key::<String>()? {
                    let id = match key.as_str() {
                        "_msg_id" => &mut ids.msg_id,
                        "_reply_q" => &mut ids.reply_queue,
                        "_unique_id" => &mut ids.unique_id,
                        "method" => &mut ids.method,
                        _ => {
                            entries.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    id.add(entries.next_value::<Text>()?.0);
                }
                Ok(ids)
            }
        }

        deserializer.deserialize_map(Message)
    }
}

/// Text, or `None` if the value is anything else.
///
/// serde's untagged enum would first build the whole value, at sixteen times its size.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOnly).map(Self)
    }
}

struct TextOnly;

impl<'de> Visitor<'de> for TextOnly {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an id")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok((text.len() <= MAX_QUEUE).then(|| text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_seq(items).map(|IgnoredAny| None)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_map(entries).map(|IgnoredAny| None)
    }
}

impl Sender {
    /// Finds the sender of a body that could not be decoded. Never fails:
    /// fields that cannot be read are absent.
    pub(crate) fn probe(body: &[u8], max_bytes: usize) -> Self {
        if body.len() > max_bytes.saturating_mul(SEARCHED) {
            return Self::default();
        }
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(body) else {
            return Self::default();
        };
        let Ok(ids) = serde_json::from_str::<Ids>(&envelope.message) else {
            return Self::default();
        };
        Self {
            reply: ReplyAddress::new(ids.msg_id.text(), ids.reply_queue.text()),
            unique_id: ids.unique_id.text(),
            method: ids.method.text().as_deref().and_then(Method::from_name),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn probe(message: &str) -> Sender {
        let body = json!({ "oslo.version": "7", "oslo.message": message }).to_string();
        Sender::probe(body.as_bytes(), 100_000)
    }

    fn found() -> Sender {
        let reply = ReplyAddress { msg_id: "m".into(), reply_queue: "q".try_into().unwrap() };
        Sender { reply: Some(reply), unique_id: Some("u".into()), method: None }
    }

    #[test]
    fn the_sender_is_found_beside_anything_that_cannot_be_read() {
        let ids = r#""_msg_id": "m", "_reply_q": "q", "_unique_id": "u""#;
        let bomb = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        for rest in ["\"\\ud800\"", "5", "{\"a\": 1, \"a\": 2}", bomb.as_str()] {
            assert_eq!(probe(&format!("{{{ids}, \"args\": {rest}}}")), found(), "{rest:.40}");
        }
    }

    #[test]
    fn an_odd_id_does_not_hide_the_others() {
        let sender = probe(r#"{"_msg_id": "m", "_reply_q": "q", "_unique_id": {"x": []}}"#);
        assert_eq!(sender, Sender { unique_id: None, ..found() });
        let bomb = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        for odd in ["null", "true", "-1", "5", "1.5", "[0, [1]]", r#"{"a": {}}"#, bomb.as_str()] {
            let message = format!(r#"{{"_msg_id": "m", "_unique_id": {odd}, "_reply_q": "q"}}"#);
            assert_eq!(probe(&message), Sender { unique_id: None, ..found() }, "{odd:.20}");
        }
        for message in [
            r#"{"_msg_id": 5, "_reply_q": "q"}"#,
            r#"{"_msg_id": "m"}"#,
            r#"{"_msg_id": "", "_reply_q": "q"}"#,
            r#"{"_msg_id": "m", "_reply_q": "amq.rabbitmq.reply-to.AAAA.BBBB"}"#,
        ] {
            assert_eq!(probe(message).reply, None, "{message}");
        }
    }

    /// Mutation: reply-to-the-brokers-own (docs/guarantees.md).
    #[test]
    fn no_answer_goes_to_a_queue_of_the_brokers_own() {
        for name in ["", "amq.", "amq.rabbitmq.reply-to.AAAA.BBBB", "amq.gen-x", &"x".repeat(256)] {
            assert_eq!(ReplyQueue::new(name), None, "{name}");
        }
        for name in ["q", "AMQ.x", "reply_1", "amqp", &"x".repeat(255)] {
            assert_eq!(ReplyQueue::new(name).unwrap().as_str(), name);
        }
        assert_ne!(ReplyQueue::unique(), ReplyQueue::unique());
    }

    #[test]
    fn the_method_is_one_of_the_table_or_none() {
        assert_eq!(probe(r#"{"method": "create_user", "args": 5}"#).method, Some(Method::CreateUser));
        for other in [r#"{"method": "hunter2"}"#, r#"{"method": ["create_user"]}"#, "{}"] {
            assert_eq!(probe(other).method, None, "{other}");
        }
    }

    #[test]
    fn bodies_far_beyond_the_limit_are_not_searched() {
        let message = json!({"_msg_id": "m", "_reply_q": "q", "_unique_id": "u", "args": "x".repeat(1_000)});
        let body = crate::envelope::encode(&message);
        assert_eq!(Sender::probe(&body, body.len() / SEARCHED + 1), found());
        assert_eq!(Sender::probe(&body, body.len() / SEARCHED - 1), Sender::default());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200), message in any::<String>()) {
            drop(Sender::probe(&body, 100));
            drop(probe(&message));
        }
    }
}
