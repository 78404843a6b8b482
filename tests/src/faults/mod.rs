//! The fault campaign: thousands of random commands over the real RabbitMQ while everything around the agent fails, and
//! at the end the model, CouchDB and all the answers must agree.
//!
//! ```text
//! plan (seed) ──► actor ──► caller ═══► RabbitMQ ═ proxy ═ agent ═ proxy ═ CouchDB
//!    │              ▲          ▲                              │               │
//!    └──► inject    └ possible └ ears ◄═══ conductor's queue ◄┘        judge ─┘
//! ```
//!
//! A library and not a test of its own, since three run it: `make chaos` and `make soak` (`bin/chaos.rs`), and
//! `cargo test` with a short campaign (`tests/chaos.rs`).
//!
//! # How concurrent commands are judged
//!
//! Each caller has a *namespace*: users and databases that nobody else names. It has up to three casts under way at once;
//! the agent keeps the order of those that touch the same thing, and the others commute, so the model takes them
//! one by one in the order of sending ([`possible`]). One database belongs to everybody ([`plan::SHARED`]): nobody
//! deletes it, and a caller's memberships in it are its own, so `_security` is edited by all at once and every edit is
//! still judged. A last namespace is *contested*: three callers name the same users and databases, in rounds; one order
//! of a round's commands, each caller's own kept, must explain all of its answers at once.
//!
//! Whatever isn't known is kept as a set of worlds: a call whose time-out passed may be done, undone or done in part.
//!
//! # What is not asked for
//!
//! A broker that dies takes the replies in transient reply queues with it: their callers time out, as with any guest. And
//! a deletion that a fault made run twice may say "done" of something that an earlier command had deleted.

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
pub mod soak;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A poisoned lock only says that some task panicked; what is counted is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
