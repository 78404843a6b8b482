//! What decides about a delivery: admission, order, begin, outcome, answer, acknowledgement.
//!
//! One state machine without I/O, clock, randomness or threads. Events go in, actions come out. The agent's tasks carry the
//! actions out and report back; `tests/explore` drives the same code through every interleaving of a small model.
//!
//! ```text
//!  Delivered ─► admit ─┬─► a duplicate: waits for the first delivery ───────────────► Reply or Acknowledge
//!                      ├─► a replay: Reply from the record, or Reject
//!                      └─► new: Accept ─► its turn ─► its place ─► NoteBeginning ─► Run ─► Write ─► Reply ─► Acknowledge
//!                                            │           │              │            │
//!                                 Expired, Terminate: Refuse, Requeue ◄─┘            └─► Failed: rest, then Run again
//! ```
//!
//! | module | decides |
//! |---|---|
//! | `admit` | whether a message is new, a duplicate, a replay or a forgery, and whether it may wait here |
//! | `begin` | when a command runs: its turn, its place, its deadline, the agent's end |
//! | `answer` | when an outcome is written, when it is answered, when its message is acknowledged |
//! | `operation` | what becomes of a command that takes hours: it goes on without its message |
//! | `order` | which commands wait for which |
//! | `marks` | which messages were carried out before, also by earlier agents |
//! | `ended` | how the last commands of this agent ended |
//!
//! The agent calls [`Core::handle`] for one event after the other. It never waits inside.

mod admit;
mod answer;
mod begin;
mod command;
mod core;
mod ended;
mod event;
mod operation;
mod order;
mod replay_tags;

pub use core::{Core, Limits, Resumed};
pub use event::{
    Action, Answer, Delivered, DeliveryId, Event, HandedOver, Kept, Mark, Refusal, Request, Scopes, Source,
    WaitsFor, Work,
};
