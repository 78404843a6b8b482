//! Measures the agent beside the Python one that it replaces, on one machine in one run, and writes what came out.
//!
//! ```text
//! sections (rpc, commands, growth, life, hashing, fleet) --> results.json --> report: docs/performance.md, SVG
//!     |                                                          |
//!     +-- ground: broker, CouchDB, agent, peers                  +--> check: ratios against the committed ones
//!     +-- load: callers;  usage: /proc;  stats: medians
//! ```
//!
//! What is compared runs side by side: every round measures each candidate in turn, figures are medians over the rounds,
//! and ratios are made round by round, so that a machine whose speed drifts does not decide. Started by `make bench`.

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
