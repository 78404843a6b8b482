//! What oslo.messaging defines, for any service: a message's envelope, requests, replies, and what they have in common.

pub mod address;
pub mod context;
pub mod envelope;
mod id;
pub mod reply;
pub mod request;
pub mod version;
