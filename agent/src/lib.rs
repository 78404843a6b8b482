//! OpenStack Trove's guest agent for Apache CouchDB. It is a library, so that `main` stays short.
//!
//! ```text
//! RabbitMQ ------+
//!                +-> transport (decode, carry out) -> commands -> couch -> CouchDB
//! local socket --+       |  ^                            |
//!                        v  |                            |
//!                  delivery core (a crate of its own) <--+ outcome
//!                  decides: order, duplicates, store, answer, acknowledge
//!
//! bootstrap: gets the os_admin login                        status: heartbeat, systemd
//! ```
//!
//! | module | may import | the only user of |
//! |---|---|---|
//! | `guest` | `couch`, `system` | |
//! | `audit` | | |
//! | `operations` | `audit`, `system` | |
//! | `trace` | | `opentelemetry` and its relatives |
//! | `log` | `trace` | `tracing-journald` |
//! | `metrics` | | `prometheus-client` |
//! | `leftovers` | `system` | |
//! | `requests` | `couch`, `metrics`, `trace` | |
//! | `bootstrap` | `couch`, `system` | |
//! | `room` | `couch` | |
//! | `status` | `couch`, `guest`, `operations`, `room`, `system` | `sd-notify` |
//! | `commands` | `bootstrap::Rotator`, `couch`, `guest`, `host`, `log`, `operations`, `status::AgentStatus`, `system` | |
//! | `transport` | `audit`, `commands`, `metrics`, `status`; its parts | |
//! | `transport::amqp` | `audit`, `metrics`, `status`, `system`; `rpc` | `lapin` |
//! | `transport::local` | `audit`, `system`; `rpc` | |
//! | `transport::rpc` | `audit`, `commands`, `log`, `metrics`, `operations`, `status`, `system`, `trace` | `trove_couchdb_delivery` |
//! | `monitor` | `couch`, `guest`, `metrics`, `operations`, `room`, `status`, `system` | `hyper` |
//! | `app` | everything | |
//! | `checks` | `app`, `exit`, `log`, `system` | |
//!
//! `couch`, `host` and `system` are crates, or parts of crates, under shorter names. Every module may import
//! `trove_couchdb_protocol`, `trove_couchdb_config` and `trove_couchdb_guest`, which do not depend on this
//! crate. `tests/tests/layering` checks the code against this table.

pub mod app;
pub mod audit;
pub mod bootstrap;
pub mod checks;
pub mod commands;
pub mod exit;
pub mod guest;
mod leftovers;
pub mod log;
pub mod metrics;
mod monitor;
pub mod operations;
mod requests;
pub mod room;
pub mod status;
pub mod trace;
pub mod transport;

use trove_couchdb_client as couch;
use trove_couchdb_guest::host;
use trove_couchdb_system as system;
