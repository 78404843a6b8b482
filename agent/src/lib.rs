//! OpenStack Trove's guest agent for Apache CouchDB, as a library so that `main` stays a story.
//!
//! ```text
//! RabbitMQ ------+
//!                +-> transport (decode, dedupe) -> dispatch (order) -> commands -> couch -> CouchDB
//! local socket --+       ^                                                |
//!                        +--- write down, answer, acknowledge <-----------+
//!
//! bootstrap: how there comes to be an os_admin login        status: heartbeat, systemd
//! ```
//!
//! | module | may import | the only user of |
//! |---|---|---|
//! | `config` | `protocol`, `tls` | the `config` crate |
//! | `system` | | `rustix` and `nix` (beside file owners in `bootstrap` and `transport::local`) |
//! | `tls` | | `rustls` (beside `main`, which installs it) |
//! | `preparation` | `system` | |
//! | `audit` | `config` | |
//! | `trace` | `config` | `opentelemetry` and its relatives |
//! | `log` | `config`, `trace` | `tracing-journald` |
//! | `metrics` | | `prometheus-client` |
//! | `couch` | `protocol`, `metrics`, `system`, `tls`, `trace` | `reqwest` (beside `trace`, for its collector) |
//! | `bootstrap` | `config`, `couch`, `system` | |
//! | `host` | `config` | |
//! | `status` | `config`, `couch`, `preparation`, `system` | `sd-notify` |
//! | `commands` | `bootstrap::Rotator`, `couch`, `host`, `log`, `preparation`, `status::Report`, `system` | |
//! | `dispatch` | `commands`, `status::Tally`, `system`, `trace` | |
//! | `transport` | `audit`, `commands`, `config`, `dispatch`, `log`, `metrics`, `status`, `system`, `tls`, `trace` | `lapin` |
//! | `monitor` | `config`, `couch`, `metrics`, `preparation`, `status`, `system` | `hyper` |
//! | `app` | everything | |
//!
//! `tests/tests/layering.rs` holds the code to this table.

pub mod app;
pub mod args;
pub mod audit;
pub mod bootstrap;
pub mod commands;
pub mod config;
pub mod couch;
pub mod dispatch;
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
