//! A message that the broker has returned, and since when it waits for its queue.
//!
//! Several messages wait at once and are published again on one channel, where lapin attaches a returned
//! message to whichever confirmation comes next. So the time must travel with the message. Otherwise a
//! message that is never fetched would count as new again and again, and live forever.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use lapin::{BasicProperties, message::BasicReturnMessage};

use trove_couchdb_protocol::ReplyQueue;

use crate::transport::rpc::{Destination, Publication};

/// The origin of this process's timestamps.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// When a message was returned for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since(Duration);

impl Since {
    pub(super) fn now() -> Self {
        Self(START.elapsed())
    }

    pub(super) fn elapsed(self) -> Duration {
        START.elapsed().saturating_sub(self.0)
    }

    /// Stores the time in the property `message-id`, which kombu leaves empty and oslo.messaging never reads.
    pub(super) fn noted_in(self, properties: BasicProperties) -> BasicProperties {
        properties.with_message_id(self.0.as_millis().to_string().into())
    }

    fn read_from(properties: &BasicProperties) -> Option<Self> {
        let milliseconds = properties.message_id().as_ref()?.as_str().parse().ok()?;
        Some(Self(Duration::from_millis(milliseconds)))
    }
}

/// A message without a queue.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) message: Publication,
    pub(super) since: Since,
}

impl Returned {
    /// `None` if this agent did not publish the message.
    pub(super) fn read(returned: BasicReturnMessage) -> Option<Self> {
        let to = match returned.exchange.as_str() {
            "" => Destination::Reply(ReplyQueue::new(returned.routing_key.as_str())?),
            _ => Destination::Conductor,
        };
        let since = Since::read_from(&returned.delivery.properties).unwrap_or_else(Since::now);
        Some(Self { message: Publication::new(to, returned.delivery.data), since })
    }
}
