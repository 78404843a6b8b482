//! What is sent back for a command: the reply to a call, and the notification that ends a user's action.

use bytes::Bytes;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use trove_couchdb_protocol::{
    Cipher, Context, Failure, FailureClass, Outcome, ReplyAddress, ReplyQueue, Request,
    encode_call_monitor_beat, encode_reply, new_id,
    trove::{ConductorCast, Method},
};

use super::{reminder, reports::Reports};
use crate::operations::OperationRecord;

/// The largest reply, in bytes: RabbitMQ 4 closes the channel of a publisher of more than 16 MiB.
const LARGEST_REPLY: usize = 8 * 1024 * 1024;

/// A broker may have a lower limit, which is known only once it refuses a message. A broker that accepts
/// Trove's own messages accepts a reply of this size.
const NEVER_TOO_LARGE: usize = 64 * 1024;

/// A message to be published.
#[derive(Debug, Clone)]
pub(in crate::transport) struct Publication {
    pub(in crate::transport) to: Destination,
    pub(in crate::transport) body: Bytes,
    /// A shorter body, for a broker that does not accept this size.
    pub(in crate::transport) otherwise: Option<Bytes>,
    /// Messages to be published after it, at the times of [`reminder::AFTER`].
    pub(in crate::transport) later: Vec<Self>,
}

impl Publication {
    pub(in crate::transport) fn new(to: Destination, body: impl Into<Bytes>) -> Self {
        Self { to, body: body.into(), otherwise: None, later: Vec::new() }
    }

    /// The same message with the shorter body.
    pub(in crate::transport) fn smaller(&self) -> Option<Self> {
        self.otherwise.clone().map(|body| Self::new(self.to.clone(), body))
    }

    /// Whether the two are the same message.
    pub(in crate::transport) fn is(&self, other: &Self) -> bool {
        self.to == other.to && self.body == other.body
    }
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transport) enum Destination {
    /// A caller's reply queue, through the default exchange.
    Reply(ReplyQueue),
    /// `trove-conductor`, through the control exchange.
    Conductor,
}

/// How this guest encodes messages: its id, and its key if it has one.
#[derive(Debug)]
pub(in crate::transport) struct ReplyEncoder {
    pub(in crate::transport) guest_id: String,
    pub(in crate::transport) cipher: Option<Cipher>,
}

impl ReplyEncoder {
    /// A cast to the conductor.
    pub(in crate::transport) fn conductor_cast(
        &self,
        cast: &ConductorCast,
        context: &Context,
    ) -> Publication {
        self.conductor_cast_as(&new_id(), cast, context)
    }

    fn conductor_cast_as(&self, id: &str, cast: &ConductorCast, context: &Context) -> Publication {
        let body = cast.encode_as(id, &self.guest_id, context, self.cipher.as_ref());
        Publication::new(Destination::Conductor, body)
    }

    /// Always names this guest, as the Python guest does (trove/conductor/api.py, `notify_exc_info`). Without
    /// the id the conductor stores no fault for `instance show`.
    fn failed(&self, mut notification: Map<String, Value>, message: &str) -> ConductorCast {
        notification.insert("instance_id".to_owned(), self.guest_id.as_str().into());
        let exception = vec![message.to_owned()];
        ConductorCast::NotifyExcInfo { notification, message: message.to_owned(), exception }
    }
}

/// Answers one command. Consumed by the answer, so that a command is answered only once.
#[derive(Debug)]
pub(in crate::transport) struct Responder {
    /// `None` for a cast, which must never get a reply.
    reply: Option<ReplyAddress>,
    context: Context,
    /// The `_unique_id` of each message is derived from this.
    request_id: String,
    reports: Reports,
    /// Only failures are reported.
    only_faults: bool,
}

impl Responder {
    /// For a request that has no id, or that could not be read.
    pub(in crate::transport) fn new(reply: Option<ReplyAddress>, context: Context) -> Self {
        Self::to(&new_id(), reply, context)
    }

    /// For the request with this `_unique_id`.
    pub(in crate::transport) fn to(request_id: &str, reply: Option<ReplyAddress>, context: Context) -> Self {
        let (request_id, reports) = (request_id.to_owned(), Reports::default());
        Self { reply, context, request_id, reports, only_faults: false }
    }

    /// For the end of an operation: the sender of its command is notified as if the command had ended now.
    pub(in crate::transport) fn to_operation(record: &OperationRecord) -> Self {
        let reports = Reports::of_method(Method::from_name(&record.request.kind));
        let context = Context::new(record.request.context.clone());
        Self {
            reports,
            only_faults: !record.request.tells_end,
            ..Self::to(&record.request.command_id, None, context)
        }
    }

    /// Whether the request was a cast, so that no caller waits for a reply.
    pub(in crate::transport) fn is_to_cast(&self) -> bool {
        self.reply.is_none()
    }

    /// The request's context as it may be stored: without the token, and without the catalog, which is long.
    pub(in crate::transport) fn context_to_keep(&self) -> Map<String, Value> {
        let mut entries = self.context.entries().clone();
        for name in ["auth_token", "service_catalog"] {
            if let Some(entry) = entries.get_mut(name) {
                *entry = Value::Null;
            }
        }
        entries
    }

    /// For a request that could be read; takes the context out of it.
    pub(in crate::transport) fn to_request(request_id: &str, request: &mut Request) -> Self {
        let reports = Reports::of(request);
        let context = reports.context(std::mem::take(&mut request.context));
        Self { reports, ..Self::to(request_id, request.reply.clone(), context) }
    }

    /// Sets the method of a request that could not be read.
    pub(in crate::transport) fn about(self, method: Option<Method>) -> Self {
        Self { reports: Reports::of_method(method), ..self }
    }

    /// The id of one of the messages.
    ///
    /// It is derived from the request's id. An agent that was killed between its answer and the
    /// acknowledgement answers again, and oslo.messaging drops a message whose `_unique_id` it has just seen
    /// (`_drivers/amqp.py`, `_MsgIdCache`). So neither the caller nor the conductor processes the answer
    /// twice.
    fn id(&self, message: &str) -> String {
        let digest = Sha256::digest(format!("{message} to {}", self.request_id).as_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        format!("{:032x}", u128::from_be_bytes(half))
    }

    /// A call heartbeat; `None` for a cast.
    pub(in crate::transport) fn beat(&self) -> Option<Publication> {
        let reply = self.reply.as_ref()?;
        let body = encode_call_monitor_beat(reply, &new_id());
        Some(Publication::new(Destination::Reply(reply.reply_queue.clone()), body))
    }

    /// All messages to be published, in order. Publishing them twice is harmless: each keeps its
    /// `_unique_id`.
    pub(in crate::transport) fn answer(self, outcome: &Outcome, encoder: &ReplyEncoder) -> Vec<Publication> {
        let mut publications = Vec::new();
        let failure = match outcome {
            Outcome::Failure(failure) => Some(failure),
            Outcome::Success(_) => None,
        };
        if let Some(cast) = failure.and_then(|_| self.reports.failed_backup()) {
            publications.push(encoder.conductor_cast_as(
                &self.id("state of the backup"),
                &cast,
                &self.context,
            ));
        }
        let Some(reply) = &self.reply else {
            if self.only_faults && failure.is_none() {
                return publications;
            }
            publications.extend(self.notification(failure, &self.id("answer"), encoder));
            return publications;
        };
        // After other calls the API itself ends the notification (trove/common/notification.py,
        // `EndNotification`).
        if failure.is_some() && self.reports.tells_of_calls() {
            publications.extend(self.notification(failure, &self.id("fault"), encoder));
        }
        publications.push(self.reply(reply, outcome, encoder));
        publications
    }

    /// Ends a user's action, if the command belongs to one.
    fn notification(
        &self,
        failure: Option<&Failure>,
        id: &str,
        encoder: &ReplyEncoder,
    ) -> Option<Publication> {
        let notification = self.context.notification()?.clone();
        let cast = match failure {
            None => ConductorCast::NotifyEnd { notification },
            Some(failure) => encoder.failed(notification, &failure.message),
        };
        let mut publication = encoder.conductor_cast_as(id, &cast, &self.context);
        if failure.is_some() && self.reports.tells_again() {
            let again = |number| {
                encoder.conductor_cast_as(&self.id(&format!("answer {number}")), &cast, &self.context)
            };
            publication.later = (0..reminder::AFTER.len()).map(again).collect();
        }
        Some(publication)
    }

    fn reply(&self, reply: &ReplyAddress, outcome: &Outcome, encoder: &ReplyEncoder) -> Publication {
        let (id, cipher) = (self.id("answer"), encoder.cipher.as_ref());
        let body = encode_reply(reply, &id, outcome, cipher);
        let bytes = body.len();
        let refused = |limit: &str| {
            let text =
                format!("the answer has {bytes} bytes, more than {limit}; ask for it in pages, with a limit");
            let refusal = Outcome::Failure(Failure::new(FailureClass::AnswerTooLarge, text));
            encode_reply(reply, &id, &refusal, cipher)
        };
        let (body, otherwise) = if bytes > LARGEST_REPLY {
            (refused(&format!("the {LARGEST_REPLY} that are sent at once")), None)
        } else if bytes > NEVER_TOO_LARGE {
            (body, Some(refused("the broker takes at once (its max_message_size)").into()))
        } else {
            (body, None)
        };
        Publication { otherwise, ..Publication::new(Destination::Reply(reply.reply_queue.clone()), body) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde_json::json;
    use trove_couchdb_protocol::decode_reply;

    use super::*;

    fn encoder() -> ReplyEncoder {
        ReplyEncoder { guest_id: "guest-1".to_owned(), cipher: None }
    }

    fn context() -> Context {
        let Value::Object(entries) = json!({"trove_notification": {"request_id": "req-1"}}) else {
            unreachable!()
        };
        Context::new(entries)
    }

    #[test]
    fn a_failed_cast_names_its_instance() {
        let failure = Outcome::Failure(Failure::new(FailureClass::UserRejected, "why"));
        let sent = Responder::new(None, context()).answer(&failure, &encoder());
        match ConductorCast::decode(&sent[0].body, None).unwrap() {
            ConductorCast::NotifyExcInfo { notification, message, exception } => {
                assert_eq!(notification["instance_id"], "guest-1");
                assert_eq!((message.as_str(), exception), ("why", vec!["why".to_owned()]));
            }
            other => panic!("{other:?}"),
        }
    }

    /// Fails if `Responder::to` generates a new id.
    #[test]
    fn a_second_answer_to_a_request_has_the_id_of_the_first_and_other_requests_have_others() {
        let id = |request: &str, reply: Option<ReplyAddress>, outcome: &Outcome| {
            let sent = Responder::to(request, reply, context()).answer(outcome, &encoder());
            trove_couchdb_protocol::envelope::decode(&sent[0].body, usize::MAX).unwrap()["_unique_id"].clone()
        };
        let failed = Outcome::Failure(Failure::new(FailureClass::UserRejected, "why"));
        let done = Outcome::Success(Value::Null);
        let address = || Some(ReplyAddress { msg_id: "m".into(), reply_queue: ReplyQueue::local() });
        for reply in [address, || None] {
            assert_eq!(id("r", reply(), &done), id("r", reply(), &failed));
            assert_ne!(id("r", reply(), &done), id("s", reply(), &done));
            assert_eq!(id("r", reply(), &done).as_str().map(str::len), Some(32));
        }
    }

    #[test]
    fn a_call_is_answered_and_never_notified_and_a_cast_the_other_way_round() {
        let address = ReplyAddress { msg_id: "m".into(), reply_queue: ReplyQueue::local() };
        let sent =
            Responder::new(Some(address), context()).answer(&Outcome::Success(Value::Null), &encoder());
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].to, Destination::Reply(ReplyQueue::local()));
        let silent =
            Responder::new(None, Context::default()).answer(&Outcome::Success(Value::Null), &encoder());
        assert!(silent.is_empty());
    }

    #[test]
    fn an_answer_that_the_broker_would_not_carry_becomes_a_failure() {
        let address = ReplyAddress { msg_id: "m".into(), reply_queue: ReplyQueue::local() };
        let huge = Outcome::Success(Value::from("x".repeat(LARGEST_REPLY)));
        let sent = Responder::new(Some(address), Context::default()).answer(&huge, &encoder());
        let reply = decode_reply(&sent[0].body, None).unwrap();
        assert!(matches!(reply.outcome, Outcome::Failure(failure) if failure.message.contains("limit")));
    }
}
