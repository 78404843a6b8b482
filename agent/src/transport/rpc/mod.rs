//! The one path of requests, whichever way they come: it knows neither RabbitMQ nor the socket.
//!
//! `pipeline` takes each [`Arrival`], `source` says what the ways in have to be able to do, `answer` words what goes back.

mod accept;
mod answer;
mod compression;
mod disk;
mod ledger;
mod outcomes;
mod pipeline;
pub(super) mod reminder;
mod replay;
mod reports;
mod source;

pub(super) use answer::{Destination, Pen, Publication, Responder};
pub(super) use compression::Compression;
pub(super) use ledger::Ledger;
pub use pipeline::OwnCommands;
pub(super) use pipeline::{RequestPipeline, Taken};
pub(super) use replay::{Records, add_operations};
pub(super) use source::{Arrival, Replies, RequestSource, Undeliverable, Way, stopping};
