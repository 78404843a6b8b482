//! Where an answer goes, and how it is found in a message that cannot be read otherwise.
//!
//! A caller that hears nothing waits until its timeout and then tells its user just that. So when a request is refused
//! for whatever reason, `Sender::probe` looks once more, leniently, for the few fields an answer needs; it builds
//! nothing else, so neither size nor nesting of the rest matters.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::id::new_id;
use crate::{error::DecodeError, trove::Method};

/// How far beyond the limit a body may go and still be searched for its sender.
const SEARCHED: usize = 16;

/// AMQP's limit on the name of a queue, in bytes.
const MAX_QUEUE: usize = 255;

/// What the names of a broker's own queues begin with, in AMQP 0-9-1. No caller can declare one, and publishing to some
/// does more than to queue: a made-up `amq.rabbitmq.reply-to.…` crashes RabbitMQ's side of the connection.
const OF_THE_BROKER: &str = "amq.";

/// What a reply queue must be, in words.
pub(crate) const REPLY_QUEUE: &str =
    "the name of a queue, at most 255 bytes long, and none that begins with `amq.`";

/// The name of a queue that answers may be published to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplyQueue(String);

impl ReplyQueue {
    /// `None` for a name that no caller's queue can have.
    pub fn new(name: &str) -> Option<Self> {
        let possible = !name.is_empty() && name.len() <= MAX_QUEUE && !name.starts_with(OF_THE_BROKER);
        possible.then(|| Self(name.to_owned()))
    }

    /// A new one, in oslo.messaging's form.
    pub fn unique() -> Self {
        Self(format!("reply_{}", new_id()))
    }

    /// Where there is no queue: on the local socket, where an answer goes to whoever asked.
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

/// The caller of a request: a call has one, a cast has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyAddress {
    /// By which the caller knows the reply (`_msg_id`).
    pub msg_id: String,
    /// The queue on the default exchange that it listens on (`_reply_q`).
    pub reply_queue: ReplyQueue,
}

impl ReplyAddress {
    /// oslo answers nothing without an id (`amqpdriver.py`, `AMQPIncomingMessage.reply`), and neither can we.
    fn new(msg_id: Option<String>, reply_queue: Option<String>) -> Option<Self> {
        let msg_id = msg_id.filter(|id| !id.is_empty() && id.len() <= MAX_QUEUE)?;
        Some(Self { msg_id, reply_queue: ReplyQueue::new(&reply_queue?)? })
    }
}

/// Who sent a message, as far as that could be found out.
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

/// The few fields of a message that are looked for.
#[derive(Default)]
struct Ids {
    msg_id: Id,
    reply_queue: Id,
    unique_id: Id,
    method: Id,
}

/// One that is there twice is none: nobody can know which was meant. The others still count.
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

/// Text that can be an id, or nothing if it is anything else.
///
/// Not serde's untagged enum: that one first builds whatever is there, at sixteen times its size.
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
    /// Looks for the sender of a body that could not be decoded; finds nothing rather than failing.
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
