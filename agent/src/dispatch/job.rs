//! A command on its way through the dispatcher, and what can become of it.

use std::time::Duration;

use tokio::time;
use trove_couchdb_protocol::{Failure, Outcome};

use crate::{
    commands::{Command, Seed},
    system::BootInstant,
};

/// A command on its way.
#[derive(Debug)]
pub struct Job {
    /// What to do.
    pub command: Box<dyn Command>,
    /// The request's `_unique_id`, or one of our own if it had none.
    pub id: String,
    /// The broker delivered it before, so an earlier agent may have done a part of it.
    pub redelivered: bool,
    /// When it came. Its caller's clock goes on while this process is stopped.
    pub arrived: BootInstant,
    /// How long, from its arrival on, to bear with a CouchDB that is away before the command fails.
    pub patience: Duration,
    /// How long after its arrival it may begin. One that could only begin later is not run: its caller has been told
    /// that it failed.
    pub begin_within: Option<Duration>,
    /// What a secret in its answer is made of.
    pub seed: Seed,
}

/// What a job waits for that has not begun.
#[derive(Debug, Clone, Copy)]
pub(super) enum WaitsFor {
    Turn,
    Permit,
}

impl Job {
    /// Whether its caller has given up, or is about to.
    pub(super) fn is_too_late(&self) -> bool {
        self.begin_within.is_some_and(|within| self.arrived.elapsed() >= within)
    }

    /// Returns when it is too late to begin; never for a cast.
    pub(super) async fn caller_gone(&self) {
        match self.begin_within {
            Some(within) => time::sleep(within.saturating_sub(self.arrived.elapsed())).await,
            None => std::future::pending().await,
        }
    }
}

/// What became of a job.
#[derive(Debug)]
pub enum Done {
    /// It ran; this is the answer.
    Answer(Outcome),
    /// It was not begun; this is why.
    Refused(Failure),
    /// The agent is stopping and the job did not run to its end: the broker shall have it back.
    HandBack {
        /// A part of it may have taken effect.
        begun: bool,
    },
}
