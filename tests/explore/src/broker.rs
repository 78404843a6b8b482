//! A broker with one queue, as far as the agent can tell.

use std::collections::BTreeMap;

use trove_couchdb_delivery::DeliveryId;

/// A message in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Queued {
    /// Its place in the queue: what is requeued returns to it.
    pub(crate) place: u8,
    pub(crate) message: u8,
    pub(crate) redelivered: bool,
}

/// The broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Broker {
    queue: Vec<Queued>,
    /// Handed out on the connection that there is.
    unacked: BTreeMap<DeliveryId, Queued>,
    /// Acknowledgements on their way.
    acks: Vec<DeliveryId>,
    places: u8,
    pub(crate) is_connected: bool,
}

impl Broker {
    pub(crate) fn publish(&mut self, message: u8) {
        self.queue.push(Queued { place: self.places, message, redelivered: false });
        self.places += 1;
    }

    pub(crate) fn connect(&mut self) {
        self.is_connected = true;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.queue.is_empty() && self.unacked.is_empty()
    }

    /// Hands out the first message.
    pub(crate) fn hand_out(&mut self, delivery: DeliveryId) -> Option<Queued> {
        if self.queue.is_empty() {
            return None;
        }
        let first = self.queue.remove(0);
        self.unacked.insert(delivery, first);
        Some(first)
    }

    /// Takes a message back to its place.
    pub(crate) fn requeue(&mut self, delivery: DeliveryId, expired: u8) {
        if let Some(queued) = self.unacked.remove(&delivery) {
            self.put(queued, expired);
        }
    }

    fn put(&mut self, queued: Queued, expired: u8) {
        // A message whose time to live is over is dropped as soon as it is in the queue.
        if expired & 1 << queued.message == 0 {
            let at = self.queue.partition_point(|other| other.place < queued.place);
            self.queue.insert(at, Queued { redelivered: true, ..queued });
        }
    }

    /// The connection ends: what was not acknowledged is in the queue again, and what was on its way is lost.
    pub(crate) fn disconnect(&mut self, expired: u8) {
        self.is_connected = false;
        self.acks.clear();
        for queued in std::mem::take(&mut self.unacked).into_values() {
            self.put(queued, expired);
        }
    }

    /// The queue is gone, with all that was in it or handed out of it: answers which messages are lost.
    pub(crate) fn lose_queue(&mut self) -> u8 {
        let queued = self.queue.drain(..).map(|queued| queued.message);
        let handed_out = std::mem::take(&mut self.unacked).into_values().map(|queued| queued.message);
        queued.chain(handed_out).fold(0, |lost, message| lost | 1 << message)
    }

    /// The messages of callers that have given up are dropped.
    pub(crate) fn expire(&mut self, message: u8) {
        self.queue.retain(|queued| queued.message != message);
    }

    pub(crate) fn send_ack(&mut self, delivery: DeliveryId) {
        self.acks.push(delivery);
    }

    pub(crate) fn has_acks(&self) -> bool {
        !self.acks.is_empty()
    }

    /// The first acknowledgement on its way arrives.
    pub(crate) fn take_ack(&mut self) -> Option<DeliveryId> {
        if self.acks.is_empty() {
            return None;
        }
        let delivery = self.acks.remove(0);
        self.unacked.remove(&delivery);
        Some(delivery)
    }
}
