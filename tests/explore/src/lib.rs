//! Runs the delivery core (`delivery/`) through every interleaving of a small model of broker, disk, CouchDB
//! and process.
//!
//! ```text
//! scenario ──► world: core + broker + disk + tasks ──step──► world ──step──► …
//!                        │
//!                        └─► monitor: is every guarantee kept?  search: every order of steps, few faults
//! ```
//!
//! A step is a single event: a delivery, an action that is carried out, a fault. The search tries every
//! possible step in every state, breadth first, so a counterexample is as short as possible. `make explore`
//! runs it.

mod broker;
mod carry;
mod checks;
mod describe;
mod disk;
mod each;
mod happen;
mod monitor;
mod scenario;
mod search;
mod step;
mod world;

pub use each::search_each;
pub use scenario::{Scenario, all};
pub use search::{Counterexample, Found, Reach, search};
