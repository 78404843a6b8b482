//! The way a command came in, which is the way its answer goes out and its receipt goes back.
//!
//! Everything else is the same for all commands, and is in `consume`.

use std::{sync::Arc, time::Duration};

use lapin::{
    Acker, BasicProperties,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
};
use tokio::{sync::watch, time};
use tracing::{debug, warn};
use trove_couchdb_protocol::{Failure, FailureClass, Outcome};

use super::{
    answer::{Destination, Pen, Publication, Responder},
    compression::Compression,
    local,
    publisher::{ReplyPublisher, Undeliverable},
};
use crate::audit::Source;

/// A message that has arrived.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) body: Vec<u8>,
    /// How the body is compressed, if it is.
    pub(super) compression: Option<Compression>,
    /// An earlier agent may have done a part of it.
    pub(super) redelivered: bool,
    /// How long its caller waits for the answer, if that is known.
    pub(super) caller_waits: Option<Duration>,
    /// It has waited in the broker for a time that its message doesn't tell. Only the broker knows whether its caller still
    /// waits: it is taken if it can begin at once, and else left there.
    pub(super) at_once_or_not: bool,
    pub(super) origin: Origin,
}

/// Whether a message may have waited in the broker before it was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// It was handed out as it came.
    New,
    /// Nobody can tell.
    Unknown,
}

/// To be handed to the socket, which a dead connection may never do. A task that waited for it for ever would hold its
/// turn for ever.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

/// The same for what is handed back, which the end of the connection does as well. The agent is about to end, and must
/// not spend its grace period on it.
const HANDED_BACK_WITHIN: Duration = Duration::from_secs(2);

/// Who brought a message.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// The broker, which wants to know when it may forget the message.
    Bus { bus: Arc<Bus>, acker: Acker, _place: Arc<Place> },
    /// A process of this machine.
    Local(Arc<local::Request>),
}

/// The kind of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Bus,
    Local,
}

/// One of the messages that a connection has handed out and not seen acknowledged.
#[derive(Debug)]
pub(super) struct Place(watch::Sender<usize>);

/// How many those are.
#[derive(Debug, Default)]
pub(super) struct HandedOut(watch::Sender<usize>);

impl HandedOut {
    pub(super) fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Returns when there are fewer than `most`.
    pub(super) async fn fewer_than(&self, most: usize) {
        let mut count = self.0.subscribe();
        // The sender is here.
        let _fewer = count.wait_for(|count| *count < most).await;
    }

    fn take(&self) -> Arc<Place> {
        self.0.send_modify(|count| *count += 1);
        Arc::new(Place(self.0.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// What answers over the bus need.
#[derive(Debug)]
pub(super) struct Bus {
    pub(super) pen: Pen,
    pub(super) publisher: ReplyPublisher,
}

impl Arrival {
    /// A message from the broker.
    pub(super) fn from_bus(delivery: Delivery, bus: &Arc<Bus>, handed_out: &HandedOut, age: Age) -> Self {
        let Delivery { data, redelivered, properties, acker, .. } = delivery;
        let caller_waits = caller_waits(&properties);
        Self {
            body: data,
            compression: Compression::of(&properties),
            redelivered,
            caller_waits,
            at_once_or_not: age == Age::Unknown && caller_waits.is_some(),
            origin: Origin::Bus { bus: Arc::clone(bus), acker, _place: handed_out.take() },
        }
    }
}

/// How long a caller waits stands in its message's time to live (ms). Nobody waits longer than a day.
pub(super) fn caller_waits(properties: &BasicProperties) -> Option<Duration> {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let milliseconds: u64 = properties.expiration().as_ref()?.as_str().parse().ok()?;
    Some(Duration::from_millis(milliseconds.min(DAY)))
}

impl Origin {
    pub(super) fn way(&self) -> Way {
        match self {
            Self::Bus { .. } => Way::Bus,
            Self::Local(_) => Way::Local,
        }
    }

    /// How answers are written: the key protects the bus, and on the socket the kernel vouches for the peer.
    pub(super) fn pen(&self) -> &Pen {
        match self {
            Self::Bus { bus, .. } => &bus.pen,
            Self::Local(request) => request.pen(),
        }
    }

    /// For the audit log.
    pub(super) fn source(&self) -> Source {
        match self {
            Self::Bus { .. } => Source::Bus,
            Self::Local(request) => request.peer().source(),
        }
    }

    /// Delivers a part of an answer; returns when it is where it cannot be lost any more, or has nobody to go to.
    pub(super) async fn publish(&self, publication: &Publication) -> Result<(), Undeliverable> {
        match self {
            Self::Bus { bus, .. } => {
                bus.publisher.publish(publication).await?;
                bus.publisher.publish_later(publication);
                Ok(())
            }
            Self::Local(request) => {
                // The conductor did not hear of a command that did not come from Trove.
                if publication.to != Destination::Conductor {
                    request.answer(&publication.body);
                }
                Ok(())
            }
        }
    }

    /// Delivers a sign of life, if that is possible just now.
    pub(super) async fn mention(&self, publication: &Publication) {
        match self {
            Self::Bus { bus, .. } => {
                let _taken = bus.publisher.try_publish(publication).await;
            }
            Self::Local(request) => request.beat(&publication.body),
        }
    }

    /// Answers what can't be run, and somebody who may not be who they say (not `credible`) only once, without a wait for
    /// the queue that they name.
    ///
    /// Acknowledged first: should the broker end the connection over the answer, the message must not come again.
    pub(super) async fn dismiss(&self, answer: &[Publication], credible: bool) {
        self.acknowledge().await;
        for publication in answer {
            if !credible {
                self.mention(publication).await;
            } else if let Err(error) = self.publish(publication).await {
                debug!(%error, "A refusal reaches nobody.");
            }
        }
    }

    /// The command is done for good. Whether its sender could be told so.
    pub(super) async fn acknowledge(&self) -> bool {
        let Self::Bus { acker, bus, .. } = self else { return true };
        let acknowledged = time::timeout(ACKNOWLEDGED_WITHIN, acker.ack(BasicAckOptions::default()));
        let acknowledged = tokio::select! {
            acknowledged = acknowledged => acknowledged,
            () = bus.publisher.stopping_while_blocked() => return false,
        };
        match acknowledged {
            Ok(Ok(_sent)) => return true,
            Ok(Err(error)) => {
                debug!(%error, "A command could not be acknowledged; it will come again and be known.");
            }
            Err(_) => warn!("A command's acknowledgement is stuck; if it was lost, the command is known."),
        }
        false
    }

    /// The command was not run. The broker keeps it for the next agent; a process of this machine is told.
    pub(super) async fn hand_back(&self, responder: Responder) {
        match self {
            Self::Bus { acker, .. } => {
                let handing_back = acker.nack(BasicNackOptions { requeue: true, multiple: false });
                match time::timeout(HANDED_BACK_WITHIN, handing_back).await {
                    Ok(Ok(_sent)) => {}
                    Ok(Err(error)) => {
                        debug!(%error, "A command could not be handed back; the broker requeues it by itself.");
                    }
                    Err(_) => debug!("Handing a command back is stuck; the broker requeues it by itself."),
                }
            }
            Self::Local(request) => {
                for publication in responder.answer(&Outcome::Failure(stopping()), request.pen()) {
                    request.answer(&publication.body);
                }
            }
        }
    }

    /// Nobody knows what became of the command: it must not come again, and its sender must not wait for ever.
    pub(super) async fn give_up(&self) {
        self.acknowledge().await;
        if let Self::Local(request) = self {
            request.hang_up();
        }
    }
}

/// What the sender of a command that was not begun is told.
pub(super) fn stopping() -> Failure {
    Failure::new(FailureClass::Stopping, "the agent is stopping; send the command again")
}
