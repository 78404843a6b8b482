//! A model of a broker with one queue, as the agent sees it.

use std::collections::BTreeMap;

use trove_couchdb_delivery::DeliveryId;

/// A message in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Queued {
    /// Its position in the queue: a requeued message returns to it.
    pub(crate) position: u8,
    pub(crate) message: u8,
    pub(crate) redelivered: bool,
}

/// The broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Broker {
    queue: Vec<Queued>,
    /// Delivered on the current connection.
    unacked: BTreeMap<DeliveryId, Queued>,
    /// Acknowledgements that the broker has not read yet.
    acks: Vec<DeliveryId>,
    positions: u8,
    pub(crate) is_connected: bool,
}

impl Broker {
    pub(crate) fn publish(&mut self, message: u8) {
        self.queue.push(Queued { position: self.positions, message, redelivered: false });
        self.positions += 1;
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

    /// Delivers the first message.
    pub(crate) fn hand_out(&mut self, delivery: DeliveryId) -> Option<Queued> {
        if self.queue.is_empty() {
            return None;
        }
        let first = self.queue.remove(0);
        self.unacked.insert(delivery, first);
        Some(first)
    }

    /// Returns a message to its position.
    pub(crate) fn requeue(&mut self, delivery: DeliveryId, expired: u8) {
        if let Some(queued) = self.unacked.remove(&delivery) {
            self.put(queued, expired);
        }
    }

    fn put(&mut self, queued: Queued, expired: u8) {
        // The broker drops an expired message as soon as it is in the queue.
        if expired & 1 << queued.message == 0 {
            let at = self.queue.partition_point(|other| other.position < queued.position);
            self.queue.insert(at, Queued { redelivered: true, ..queued });
        }
    }

    /// Closes the connection: unacknowledged messages return to the queue, and acknowledgements in flight are
    /// lost.
    pub(crate) fn disconnect(&mut self, expired: u8) {
        self.is_connected = false;
        self.acks.clear();
        for queued in std::mem::take(&mut self.unacked).into_values() {
            self.put(queued, expired);
        }
    }

    /// Deletes the queue with its queued and delivered messages; returns the lost messages.
    pub(crate) fn lose_queue(&mut self) -> u8 {
        let queued = self.queue.drain(..).map(|queued| queued.message);
        let handed_out = std::mem::take(&mut self.unacked).into_values().map(|queued| queued.message);
        queued.chain(handed_out).fold(0, |lost, message| lost | 1 << message)
    }

    /// Drops a message whose caller has given up.
    pub(crate) fn expire(&mut self, message: u8) {
        self.queue.retain(|queued| queued.message != message);
    }

    pub(crate) fn send_ack(&mut self, delivery: DeliveryId) {
        self.acks.push(delivery);
    }

    pub(crate) fn has_acks(&self) -> bool {
        !self.acks.is_empty()
    }

    /// Reads the first acknowledgement in flight.
    pub(crate) fn take_ack(&mut self) -> Option<DeliveryId> {
        if self.acks.is_empty() {
            return None;
        }
        let delivery = self.acks.remove(0);
        self.unacked.remove(&delivery);
        Some(delivery)
    }
}
