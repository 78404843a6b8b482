//! Agent, privileged helper and CouchDB together: the real programs, with the in-memory CouchDB as the
//! managed service.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounts;
mod commands;
mod docker;
mod lifecycle;
mod service;
mod volume;
