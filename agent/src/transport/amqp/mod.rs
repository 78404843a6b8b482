//! The RabbitMQ transport. It is the only user of lapin in the agent; the command-line tool connects and
//! declares with the same functions (`trove_couchdb_guest::broker`).

mod backoff;
mod broker;
mod compression;
mod consumer;
mod events;
mod publisher;
mod session;
mod source_ref;

pub(super) use broker::Broker;
