//! The privileged helper of `trove-couchdb-agent`, as a library to keep `main` short.
//!
//! ```text
//! agent --socket--> server (who?) -> connection (frames) -> policy (allowed?) -> service (act, wait)
//!                                          |                                            |
//!                                          |                                            +--> backend -> CouchDB
//!                                          +--> audit: one JSON line for each request
//!                                          +--> task -> a program in a transient unit
//! ```
//!
//! The agent faces the network and has no privileges; this program has privileges and faces only the agent.
//! So it is small, has no network access, and does only what root's `host.toml` allows: a request contains no
//! path, unit or program.
//!
//! | module | may import |
//! |---|---|
//! | `audit` | |
//! | `changes` | |
//! | `one_line` | |
//! | `policy` | |
//! | `program` | |
//! | `task` | `one_line`, `program` |
//! | `backend` | `one_line`, `policy`, `program` |
//! | `service` | `backend`, `changes`, `policy` |
//! | `log_tail` | `backend`, `policy`, `program`, `task` |
//! | `volume` | `backend`, `changes`, `one_line`, `policy`, `program`, `task` |
//! | `connection` | `audit`, `changes`, `log_tail`, `policy`, `service`, `volume` |
//! | `server` | `audit`, `changes`, `connection`, `policy` |
//! | `args` | |
//!
//! `tests/tests/layering.rs` checks the code against this table.

pub mod args;
pub mod audit;
pub mod backend;
pub mod changes;
pub mod connection;
pub mod log_tail;
pub mod one_line;
pub mod policy;
pub mod program;
pub mod server;
pub mod service;
pub mod task;
pub mod volume;
