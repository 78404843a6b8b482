//! A message that the broker has returned, and since when it waits for its queue.
//!
//! Several wait at the same time and are published again on one channel, where lapin hands a returned one to whoever
//! hears of a confirmation next. So what is to be known of it must travel with it: else one that nobody fetches would
//! be taken for a new one again and again, and live for ever.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use lapin::{BasicProperties, message::BasicReturnMessage};

use trove_couchdb_protocol::ReplyQueue;

use crate::transport::rpc::{Destination, Publication};

/// Where this process counts its milliseconds from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// When a message was returned for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since(Duration);

impl Since {
    /// Just now.
    pub(super) fn now() -> Self {
        Self(START.elapsed())
    }

    /// How long ago that is.
    pub(super) fn elapsed(self) -> Duration {
        START.elapsed().saturating_sub(self.0)
    }

    /// In the property `message-id`, which kombu leaves empty and oslo.messaging never reads.
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
    /// `None` for one that this agent has not published.
    pub(super) fn read(returned: BasicReturnMessage) -> Option<Self> {
        let to = match returned.exchange.as_str() {
            "" => Destination::Reply(ReplyQueue::new(returned.routing_key.as_str())?),
            _ => Destination::Conductor,
        };
        let since = Since::read_from(&returned.delivery.properties).unwrap_or_else(Since::now);
        Some(Self { message: Publication::new(to, returned.delivery.data), since })
    }
}
