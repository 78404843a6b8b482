//! The privileged helper of `trove-couchdb-agent`, as a library to keep `main` short.
//!
//! ```text
//! agent --socket--> server (who?) -> connection (frames) -> policy (allowed?) -> service (act, wait)
//!                                          |                                            |
//!                                          |                                            +--> backend -> CouchDB
//!                                          +--> audit: one JSON line for each request
//! ```
//!
//! The agent faces the network and has no privileges; this program has privileges and faces only the agent.
//! So it is small, has no network access, and does only what root's `host.toml` allows: a request contains no
//! path, unit or program.
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
//! `tests/tests/layering.rs` checks the code against this table.

pub mod args;
pub mod audit;
pub mod backend;
pub mod connection;
pub mod policy;
pub mod server;
pub mod service;
