//! oslo.messaging's formats, for any service: envelopes, requests, replies and their common parts.

pub mod address;
pub mod context;
pub mod envelope;
mod id;
pub mod reply;
pub mod request;
pub mod version;
