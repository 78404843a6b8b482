//! The privileged helper of `trove-couchdb-agent`, as a library so that `main` stays a story.
//!
//! ```text
//! agent --socket--> server (who?) -> connection (frames) -> policy (allowed?) -> service (act, wait) -> backend -> CouchDB
//!                                          |
//!                                          +--> audit: one JSON line for each request
//! ```
//!
//! The agent faces the network and has no privilege; this program has privilege and faces only the agent. So it is small, it
//! has no network, and it does nothing that root's own `host.toml` does not allow: a request names neither a path nor a
//! unit nor a program.
//!
//! | module | may import |
//! |---|---|
//! | `audit` | |
//! | `policy` | |
//! | `backend` | `policy` |
//! | `service` | `backend`, `policy` |
//! | `connection` | `audit`, `policy`, `service` |
//! | `server` | `audit`, `connection`, `policy`, `service` |
//! | `args` | |
//!
//! `tests/tests/layering.rs` holds the code to this table.

pub mod args;
pub mod audit;
pub mod backend;
pub mod connection;
pub mod policy;
pub mod server;
pub mod service;
