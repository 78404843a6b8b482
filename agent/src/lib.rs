//! OpenStack Trove's guest agent for Apache CouchDB, as a library so that `main` stays a story.
//!
//! ```text
//! RabbitMQ -> transport (decode, dedupe) -> dispatch (order) -> handlers -> couch -> CouchDB
//!                 ^                                                |
//!                 +---------- answer, confirm, acknowledge <-------+
//!
//! bootstrap: how there comes to be an os_admin login        status: heartbeat, systemd
//! ```
//!
//! | module | may import | the only user of |
//! |---|---|---|
//! | `config` | `protocol` | the `config` crate |
//! | `system` | | `rustix` (beside `bootstrap::ini`) |
//! | `preparation` | `system` | |
//! | `couch` | `protocol` | `reqwest` |
//! | `bootstrap` | `config`, `couch`, `system` | |
//! | `status` | `config`, `couch`, `preparation`, `system` | `sd-notify` |
//! | `handlers` | `couch`, `preparation`, `system` | |
//! | `dispatch` | `handlers` | |
//! | `transport` | `config`, `dispatch`, `status::Link` | `lapin` |
//! | `app` | everything | |
//!
//! `tests/tests/layering.rs` holds the code to this table.

pub mod app;
pub mod args;
pub mod bootstrap;
pub mod config;
pub mod couch;
pub mod dispatch;
pub mod exit;
pub mod handlers;
pub mod log;
pub mod preparation;
pub mod status;
pub mod system;
pub mod transport;
