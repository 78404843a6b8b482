//! OpenStack Trove's guest agent for Apache CouchDB, as a library so that `main` stays a story.
//!
//! ```text
//! RabbitMQ ------+
//!                +-> transport (decode, carry out) -> commands -> couch -> CouchDB
//! local socket --+       |  ^                            |
//!                        v  |                            |
//!                  delivery core (a crate of its own) <--+ outcome
//!                  decides: order, duplicates, write down, answer, acknowledge
//!
//! bootstrap: how there comes to be an os_admin login        status: heartbeat, systemd
//! ```
//!
//! | module | may import | the only user of |
//! |---|---|---|
//! | `system` | | `rustix` and `nix` (beside file owners in `bootstrap` and `transport::local`) |
//! | `tls` | | `rustls` (beside `main`, which installs it) |
//! | `preparation` | `system` | |
//! | `audit` | | |
//! | `trace` | | `opentelemetry` and its relatives |
//! | `log` | `trace` | `tracing-journald` |
//! | `metrics` | | `prometheus-client` |
//! | `couch` | `protocol`, `metrics`, `system`, `tls`, `trace` | `reqwest` (beside `trace`, for its collector) |
//! | `bootstrap` | `couch`, `system` | |
//! | `host` | | |
//! | `status` | `couch`, `preparation`, `system` | `sd-notify` |
//! | `commands` | `bootstrap::Rotator`, `couch`, `host`, `log`, `preparation`, `status::Report`, `system` | |
//! | `transport` | `audit`, `commands`, `log`, `metrics`, `status`, `system`, `tls`, `trace` | `lapin`, `trove_couchdb_delivery` |
//! | `monitor` | `couch`, `metrics`, `preparation`, `status`, `system` | `hyper` |
//! | `app` | everything | |
//!
//! Anybody may import `trove_couchdb_protocol` and `trove_couchdb_config`, which know nothing of this crate.
//! `tests/tests/layering` holds the code to this table.

pub mod app;
pub mod args;
pub mod audit;
pub mod bootstrap;
pub mod commands;
pub mod couch;
pub mod exit;
pub mod host;
pub mod log;
pub mod metrics;
pub mod monitor;
pub mod preparation;
pub mod status;
pub mod system;
pub mod tls;
pub mod trace;
pub mod transport;
