//! The resources of CouchDB's HTTP API.

pub(crate) mod encode;
pub(crate) mod node;
pub(crate) mod resource;
pub(crate) mod segment;
