//! Decides about deliveries: admission, order, begin, outcome, answer, acknowledgement.
//!
//! The core is one state machine without I/O, clock, randomness or threads. It takes events and returns
//! actions. The agent's tasks execute the actions and report back; `tests/explore` drives the same code
//! through every interleaving of a small model.
//!
//! ```text
//!  Delivered ─► admit ─┬─► a duplicate: waits for the first delivery ─► Reply or Acknowledge
//!                      ├─► a replay: Reply from the record, or Reject
//!                      └─► new: Accept ─► lock ─► slot ─► NoteBeginning ─► Run ─► Write ─► Reply ─► Acknowledge
//!                                          │       │           │            │
//!                        Expired, Terminate: Refuse, Requeue ◄─┘            └─► Failed: pause, then Run again
//! ```
//!
//! | module | decides |
//! |---|---|
//! | `admit` | whether a message is new, a duplicate, a replay or a forgery, and whether it may wait |
//! | `begin` | when a command runs: its lock, its slot, its deadline, the agent's shutdown |
//! | `answer` | when an outcome is written, when it is answered, when its message is acknowledged |
//! | `operation` | how a command that takes hours continues without its message |
//! | `cancellation` | whether an operation ends as cancelled |
//! | `order` | which commands wait for which |
//! | `replay_tags` | which messages were carried out before, including by earlier agents |
//! | `resume` | what a new agent knows of an earlier one, and which operations it continues |
//! | `ended` | the outcomes of this agent's last commands |
//!
//! The agent calls [`Core::handle`] for one event after the other. The function never waits.

mod admit;
mod answer;
mod begin;
mod cancellation;
mod command;
mod core;
mod ended;
mod event;
mod operation;
mod order;
mod replay_tags;
mod resume;

pub use cancellation::Cancellation;
pub use core::{Core, Limits, Resumed};
pub use event::{
    Action, Answer, Delivered, DeliveryId, Event, HandedOver, Kept, Mark, Refusal, Request, Scopes, Source,
    WaitsFor, Work,
};
pub use resume::{StoredCommand, StoredOperation, resume};
