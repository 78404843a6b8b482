//! A command in flight, and the ways it can end.

use std::time::Duration;

use trove_couchdb_delivery::WaitsFor;
use trove_couchdb_protocol::{Failure, FailureClass, Outcome};

use crate::{
    audit::AuditOutcome,
    commands::{Command, Needs},
    system::BootInstant,
};

/// A command in flight.
#[derive(Debug)]
pub(in crate::transport::rpc) struct Job {
    /// The command to run.
    pub(in crate::transport::rpc) command: Box<dyn Command>,
    /// The request's `_unique_id`, or a generated id if it had none.
    pub(in crate::transport::rpc) id: String,
    /// An earlier agent, or this one on an earlier connection, may have done a part of the command.
    pub(in crate::transport::rpc) redelivered: bool,
    /// When it arrived, by a clock that runs on while this process is suspended, as the caller's does.
    pub(in crate::transport::rpc) arrived: BootInstant,
    /// How long, from its arrival on, to retry while CouchDB is down before the command fails.
    pub(in crate::transport::rpc) retry_timeout: Duration,
    /// How long after its arrival it may begin. A command that could only begin later is not run: its caller
    /// has given up.
    pub(in crate::transport::rpc) begin_within: Option<Duration>,
}

impl Job {
    /// Whether the caller has given up, or is about to.
    pub(super) fn is_too_late(&self) -> bool {
        self.begin_within.is_some_and(|within| self.arrived.elapsed() >= within)
    }

    /// Whether it takes one of the `rpc.max_concurrent` slots.
    pub(super) fn needs_slot(&self) -> bool {
        self.command.needs() == Needs::CouchDb
    }

    /// The failure for a caller that has given up.
    pub(super) fn too_late(&self, waited_for: WaitsFor, max_concurrent: usize) -> Ending {
        let method = self.command.name();
        let text = match waited_for {
            WaitsFor::Lock => {
                format!(
                    "{method} waited too long for earlier commands on the same user or database; try again"
                )
            }
            WaitsFor::Slot => format!(
                "{method} waited too long for CouchDB, which {max_concurrent} other commands are waiting for \
                 (rpc.max_concurrent); try again"
            ),
        };
        if self.redelivered {
            let text =
                format!("{text} (it may have taken effect in part: the agent was restarted while it ran)");
            return Ending::failed(Failure::new(FailureClass::Busy, text));
        }
        Ending::refused(Failure::new(FailureClass::Busy, text))
    }
}

/// How a command ended: for its caller, and for the audit log.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) verdict: AuditOutcome,
}

impl Ending {
    /// It ran, with this outcome.
    pub(super) fn ran(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success(_) => Self { outcome, verdict: AuditOutcome::Ok },
            Outcome::Failure(failure) => Self::failed(failure),
        }
    }

    /// It ran and failed.
    pub(super) fn failed(failure: Failure) -> Self {
        Self { outcome: Outcome::Failure(failure.clone()), verdict: AuditOutcome::Failed(failure) }
    }

    /// It was not begun.
    pub(super) fn refused(failure: Failure) -> Self {
        Self { outcome: Outcome::Failure(failure.clone()), verdict: AuditOutcome::Refused(failure) }
    }
}
