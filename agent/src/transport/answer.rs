//! What goes back for a command: the reply to a call, and the notification that ends a user's action.

use serde_json::{Map, Value};
use trove_couchdb_protocol::{
    Cipher, Context, Outcome, ReplyAddress, encode_call_monitor_beat, encode_reply, new_id,
    trove::ConductorCast,
};

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
            let body = encode_reply(&reply, &new_id(), outcome, pen.cipher.as_ref());
            return vec![Publication { to: Destination::Reply(reply.reply_queue), body }];
        }
        // After a call the API ends the notification itself (trove/common/notification.py, EndNotification).
        let Some(notification) = self.context.notification().cloned() else {
            return Vec::new();
        };
        let cast = match outcome {
            Outcome::Success(_) => ConductorCast::NotifyEnd { notification },
            Outcome::Failure(failure) => failed(notification, &failure.message),
        };
        vec![pen.conductor_cast(&cast, &self.context)]
    }
}

fn failed(mut notification: Map<String, Value>, message: &str) -> ConductorCast {
    notification.entry("instance_id").or_insert(Value::Null);
    ConductorCast::NotifyExcInfo {
        notification,
        message: message.to_owned(),
        exception: vec![message.to_owned()],
    }
}
