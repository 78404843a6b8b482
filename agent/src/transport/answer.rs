//! What goes back for a command: the reply to a call, and the notification that ends a user's action.

use serde_json::{Map, Value};
use trove_couchdb_protocol::{
    Cipher, Context, Failure, Outcome, ReplyAddress, encode_call_monitor_beat, encode_reply, new_id,
    trove::ConductorCast,
};

/// The largest reply that is sent, in bytes: RabbitMQ 4 closes the channel of a publisher of more than 16 MiB,
/// and the command would be answered in the same way for ever.
const LARGEST_REPLY: usize = 8 * 1024 * 1024;

/// A message to be published.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    pub(super) to: Destination,
    pub(super) body: Vec<u8>,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// A caller's reply queue, through the default exchange.
    Reply(String),
    /// `trove-conductor`, through the control exchange.
    Conductor,
}

/// How this guest writes: who it is, and its key if it has one.
#[derive(Debug)]
pub(super) struct Pen {
    pub(super) guest_id: String,
    pub(super) cipher: Option<Cipher>,
}

impl Pen {
    /// A cast to the conductor.
    pub(super) fn conductor_cast(&self, cast: &ConductorCast, context: &Context) -> Publication {
        let body = cast.encode(&self.guest_id, context, self.cipher.as_ref());
        Publication { to: Destination::Conductor, body }
    }

    fn reply(&self, to: &ReplyAddress, outcome: &Outcome) -> Vec<u8> {
        encode_reply(to, &new_id(), outcome, self.cipher.as_ref())
    }

    /// The Python guest names itself too, whatever the notification said (trove/conductor/api.py,
    /// `notify_exc_info`); without it the conductor stores no fault for `instance show`.
    fn failed(&self, mut notification: Map<String, Value>, message: &str) -> ConductorCast {
        notification.insert("instance_id".to_owned(), self.guest_id.as_str().into());
        let exception = vec![message.to_owned()];
        ConductorCast::NotifyExcInfo { notification, message: message.to_owned(), exception }
    }
}

/// Who is to be told about one command. Consumed by the answer: a command is answered once.
#[derive(Debug)]
pub(super) struct Responder {
    /// `None` for a cast, which must never be answered.
    reply: Option<ReplyAddress>,
    context: Context,
}

impl Responder {
    pub(super) fn new(reply: Option<ReplyAddress>, context: Context) -> Self {
        Self { reply, context }
    }

    /// A sign of life for a caller that asked for them.
    pub(super) fn beat(&self) -> Option<Publication> {
        let reply = self.reply.as_ref()?;
        let body = encode_call_monitor_beat(reply, &new_id());
        Some(Publication { to: Destination::Reply(reply.reply_queue.clone()), body })
    }

    /// All that is to be published, in order. Publishing it twice is harmless: the `_unique_id` stays.
    pub(super) fn answer(self, outcome: &Outcome, pen: &Pen) -> Vec<Publication> {
        if let Some(reply) = self.reply {
            let mut body = pen.reply(&reply, outcome);
            if body.len() > LARGEST_REPLY {
                let text = format!(
                    "the answer has {} bytes, more than the {LARGEST_REPLY} that are sent at once; ask for it in \
                     pages, with a limit",
                    body.len()
                );
                body = pen.reply(&reply, &Outcome::Failure(Failure::new("AnswerTooLarge", text)));
            }
            return vec![Publication { to: Destination::Reply(reply.reply_queue), body }];
        }
        // After a call the API ends the notification itself (trove/common/notification.py, `EndNotification`).
        let Some(notification) = self.context.notification().cloned() else { return Vec::new() };
        let cast = match outcome {
            Outcome::Success(_) => ConductorCast::NotifyEnd { notification },
            Outcome::Failure(failure) => pen.failed(notification, &failure.message),
        };
        vec![pen.conductor_cast(&cast, &self.context)]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde_json::json;
    use trove_couchdb_protocol::decode_reply;

    use super::*;

    fn pen() -> Pen {
        Pen { guest_id: "guest-1".to_owned(), cipher: None }
    }

    fn context() -> Context {
        let Value::Object(entries) = json!({"trove_notification": {"request_id": "req-1"}}) else {
            unreachable!()
        };
        Context::new(entries)
    }

    #[test]
    fn a_failed_cast_names_its_instance() {
        let failure = Outcome::Failure(Failure::new("X", "why"));
        let sent = Responder::new(None, context()).answer(&failure, &pen());
        match ConductorCast::decode(&sent[0].body, None).unwrap() {
            ConductorCast::NotifyExcInfo { notification, message, exception } => {
                assert_eq!(notification["instance_id"], "guest-1");
                assert_eq!((message.as_str(), exception), ("why", vec!["why".to_owned()]));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_is_answered_and_never_notified_and_a_cast_the_other_way_round() {
        let address = ReplyAddress { msg_id: "m".into(), reply_queue: "q".into() };
        let sent = Responder::new(Some(address), context()).answer(&Outcome::Success(Value::Null), &pen());
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].to, Destination::Reply("q".into()));
        let silent = Responder::new(None, Context::default()).answer(&Outcome::Success(Value::Null), &pen());
        assert!(silent.is_empty());
    }

    #[test]
    fn an_answer_that_the_broker_would_not_carry_becomes_a_failure() {
        let address = ReplyAddress { msg_id: "m".into(), reply_queue: "q".into() };
        let huge = Outcome::Success(Value::from("x".repeat(LARGEST_REPLY)));
        let sent = Responder::new(Some(address), Context::default()).answer(&huge, &pen());
        let reply = decode_reply(&sent[0].body, None).unwrap();
        assert!(matches!(reply.outcome, Outcome::Failure(failure) if failure.message.contains("limit")));
    }
}
