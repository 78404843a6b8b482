//! Measures the agent and the Python agent that it replaces, on one machine in one run, and writes the
//! results.
//!
//! ```text
//! sections (rpc, commands, …) --> results.json --> report: docs/performance*.md, SVG
//!     |                                |
//!     |                                +--> check: ratios against the committed ones
//!     +-- environment: broker, CouchDB, agent, peers
//!     +-- load: callers;  usage: /proc;  stats: medians
//! ```
//!
//! Candidates are compared within a run: every round measures each candidate in turn, figures are medians
//! over the rounds, and ratios are computed per round, so that a drifting speed of the machine has no
//! influence. `make bench` starts it.

pub mod counting;
pub mod environment;
pub mod fleet;
pub mod load;
pub mod raw;
pub mod report;
pub mod results;
pub mod sections;
pub mod sizes;
pub mod stats;
pub mod upstream;
pub mod usage;
