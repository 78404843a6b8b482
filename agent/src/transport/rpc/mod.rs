//! The pipeline that all transports share; it depends neither on RabbitMQ nor on the socket.
//!
//! `pipeline` takes each [`IncomingMessage`], `source` defines what a transport implements, and `answer`
//! builds what is sent back.

mod accept;
mod answer;
mod command_log;
mod compression;
mod disk;
mod outcomes;
mod pipeline;
pub(super) mod reminder;
mod replay;
mod reports;
mod source;

pub(super) use answer::{Destination, Publication, ReplyEncoder, Responder};
pub(super) use command_log::CommandLog;
pub(super) use compression::Compression;
pub use pipeline::OwnCommands;
pub(super) use pipeline::{RequestPipeline, Taken};
pub(super) use replay::Records;
pub(super) use source::{IncomingMessage, Replies, RequestSource, RequestTransport, Undeliverable, stopping};
