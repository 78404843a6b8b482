//! The sizes of the measurements: enough for a report, or just enough to check that everything runs.

use std::time::Duration;

/// The sizes of one run.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// Their name in the report.
    pub name: &'static str,
    /// How often each candidate is measured, in turn with the others.
    pub rounds: usize,
    /// The duration of one load of calls.
    pub load: Duration,
    /// How long an idle process is observed.
    pub idle: Duration,
    /// How often a process is started.
    pub starts: usize,
    /// Users and databases of the Python code's worst command, which takes U × D forks.
    pub square: usize,
    /// Users that are created, and grants.
    pub users: usize,
    /// Users and databases of the sweep.
    pub scan: (usize, usize),
    /// Numbers of users, and of databases, for the growth of pages.
    pub growth: &'static [usize],
    /// Passwords hashed in one round.
    pub hashes: usize,
    /// Simulated agents.
    pub fleet: usize,
}

impl Sizes {
    /// For the report.
    pub fn full() -> Self {
        Self {
            name: "full",
            rounds: 5,
            load: Duration::from_secs(4),
            idle: Duration::from_secs(300),
            starts: 15,
            square: 40,
            users: 100,
            scan: (100, 1_000),
            growth: &[10, 100, 1_000, 10_000],
            hashes: 24,
            fleet: 2_000,
        }
    }

    /// For testing the harness: the figures are not meaningful.
    pub fn quick() -> Self {
        Self {
            name: "quick",
            rounds: 2,
            load: Duration::from_secs(1),
            idle: Duration::from_secs(20),
            starts: 3,
            square: 6,
            users: 10,
            scan: (20, 100),
            growth: &[10, 100],
            hashes: 4,
            fleet: 100,
        }
    }
}
