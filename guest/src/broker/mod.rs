//! A guest's connection to a broker, with its exchanges and queues.
//!
//! The agent and the operator's tool share the functions that connect and declare, because RabbitMQ refuses a
//! declaration that differs in a single flag.

mod connect;
mod names;
mod secure;
mod topology;

use lapin::{BasicProperties, types::FieldTable};

pub use connect::{ConnectError, Hosts, Socket, connect};
pub use names::{Names, TopologyError};
pub use topology::{confirming_channel, declare, guest_queue, is_mismatch, short, transient_queue};

/// The message properties that kombu sets: persistent, JSON, UTF-8 (kombu/messaging.py, `Producer.publish`).
pub fn properties() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(0)
        .with_headers(FieldTable::default())
}
