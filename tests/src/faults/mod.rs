//! The fault campaign: thousands of random commands over a real RabbitMQ while everything around the agent
//! fails. At the end the model, CouchDB and all the answers must agree.
//!
//! ```text
//! plan (seed) ──► client ─► caller ═══► RabbitMQ ═ proxy ═ agent ═ proxy ═ CouchDB
//!    │              ▲          ▲                              │               │
//!    └──► inject    └ possible └ ears ◄═══ conductor's queue ◄┘      checker ─┘
//! ```
//!
//! It is a library because three programs use it: `make chaos` and `make soak` (`bin/chaos.rs`), and
//! `cargo test` with a short campaign (`tests/chaos.rs`).
//!
//! # How concurrent commands are checked
//!
//! Each caller has a *namespace*: users and databases that no other caller names. It has up to three casts in
//! flight. The agent keeps the order of those that affect the same object, and the others commute, so the
//! model applies them one by one in the order of sending ([`possible`]). One database is used by all callers
//! ([`plan::SHARED`]): none deletes it, and a caller's memberships in it are its own, so all callers edit
//! `_security` at once and every edit is still checked. The last namespace is *contested*: three callers name
//! the same users and databases, in rounds. A single order of a round's commands, in which each caller's
//! commands keep their order, must explain all of its answers.
//!
//! Uncertainty is a set of possible models: a call whose time-out passed may be done, undone or partly done.
//!
//! # What is not checked
//!
//! A broker that dies loses the replies in transient reply queues: their callers time out, as with any guest.
//! And a deletion that runs twice because of a fault may report success for an object that an earlier command
//! had deleted.

pub mod answers;
pub mod caller;
pub mod campaign;
pub mod checker;
pub mod client;
pub mod environment;
pub mod growth;
pub mod inject;
pub mod kinds;
pub mod line;
pub mod model;
pub mod plan;
pub mod possible;
pub mod proxy;
pub mod replay;
pub mod report;
pub mod schedule;
mod sent;
pub mod soak;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A poisoned lock only means that a test panicked; the counts are intact.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
