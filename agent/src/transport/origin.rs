//! The way a command came in, which is the way its answer goes out and its receipt goes back.
//!
//! Everything else is the same for all commands, and is in `consume`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lapin::{
    Acker,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
};
use tokio::time;
use tracing::{debug, warn};
use trove_couchdb_protocol::{Failure, FailureClass, Outcome};

use super::{
    answer::{Destination, Pen, Publication, Responder},
    compression::Compression,
    local,
    outlet::{Outlet, Undeliverable},
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
    pub(super) caller_waits: Option<Waits>,
    pub(super) origin: Origin,
}

/// How long a caller waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    pub(super) time: Duration,
    /// A part of it may be over.
    pub(super) may_be_old: bool,
}

/// To be handed to the socket, which a dead connection may never do. A task that waited for it for ever would hold its
/// turn for ever.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

/// The same for what is handed back, which the end of the connection does as well. The agent is about to end, and must
/// not spend its grace period on it.
const HANDED_BACK_WITHIN: Duration = Duration::from_secs(2);

/// Of a call that may have waited in the broker nobody can tell how long: messages bear no time. It was alive when the
/// broker handed it out, which drops what has expired, so it may begin if it can do so about now.
const OLD_CALLS_BEGIN_WITHIN: Duration = Duration::from_secs(1);

impl Waits {
    /// When it is too late to begin: a little before nobody waits any more, so that the caller still hears why.
    pub(super) fn begin_within(self) -> Duration {
        let fresh = self.time.mul_f64(0.9);
        if self.may_be_old { fresh.min(OLD_CALLS_BEGIN_WITHIN) } else { fresh }
    }
}

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
pub(super) struct Place(Arc<AtomicUsize>);

/// How many those are.
#[derive(Debug, Default)]
pub(super) struct HandedOut(Arc<AtomicUsize>);

impl HandedOut {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn take(&self) -> Arc<Place> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Arc::new(Place(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What answers over the bus need.
#[derive(Debug)]
pub(super) struct Bus {
    pub(super) pen: Pen,
    pub(super) outlet: Outlet,
}

impl Arrival {
    /// A message from the broker, which had others waiting if it is `behind`.
    pub(super) fn from_bus(delivery: Delivery, bus: &Arc<Bus>, handed_out: &HandedOut, behind: bool) -> Self {
        let Delivery { data, redelivered, properties, acker, .. } = delivery;
        let expiration = properties.expiration().as_ref().map(lapin::types::ShortString::as_str);
        Self {
            body: data,
            compression: Compression::of(&properties),
            redelivered,
            caller_waits: expiration
                .and_then(time_to_live)
                .map(|time| Waits { time, may_be_old: redelivered || behind }),
            origin: Origin::Bus { bus: Arc::clone(bus), acker, _place: handed_out.take() },
        }
    }
}

/// How long a caller waits stands in its message's time to live (ms). Nobody waits longer than a day.
fn time_to_live(milliseconds: &str) -> Option<Duration> {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let milliseconds: u64 = milliseconds.parse().ok()?;
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
            Self::Bus { bus, .. } => bus.outlet.publish(publication).await,
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
                let _taken = bus.outlet.mention(publication).await;
            }
            Self::Local(request) => request.beat(&publication.body),
        }
    }

    /// Answers somebody who may not be who they say: once, without a wait for the queue that they name.
    pub(super) async fn dismiss(&self, answer: &[Publication]) {
        for publication in answer {
            self.mention(publication).await;
        }
        self.acknowledge().await;
    }

    /// The command is done for good.
    pub(super) async fn acknowledge(&self) {
        match self {
            Self::Bus { acker, .. } => {
                let acknowledged = acker.ack(BasicAckOptions::default());
                match time::timeout(ACKNOWLEDGED_WITHIN, acknowledged).await {
                    Ok(Ok(_sent)) => {}
                    Ok(Err(error)) => {
                        debug!(%error, "A command could not be acknowledged; it will come again and be known.");
                    }
                    Err(_) => {
                        warn!("A command's acknowledgement is stuck; if it was lost, the command is known.");
                    }
                }
            }
            Self::Local(_) => {}
        }
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

    /// Returns when the broker can't be told any more that the command is done; never for a local one.
    pub(super) async fn is_lost(&self) {
        match self {
            Self::Bus { bus, .. } => bus.outlet.lost().await,
            Self::Local(_) => std::future::pending().await,
        }
    }
}

/// What the sender of a command that was not begun is told.
pub(super) fn stopping() -> Failure {
    Failure::new(FailureClass::Stopping, "the agent is stopping; send the command again")
}
