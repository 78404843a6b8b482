//! Why a call returned no value, in words for the operator.

use std::time::Duration;

use serde_json::Value;
use trove_couchdb_protocol::{DecodeError, Failure, FailureClass, Outcome, Reply};

/// Why a call returned no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CallError {
    /// The command failed; the message is the agent's.
    #[error("{}", .0.message)]
    Failure(Failure),
    /// No connection.
    #[error("{peer} can't be reached: {reason}")]
    Unreachable {
        /// The socket or the broker.
        peer: String,
        /// The error of the system or the broker.
        reason: String,
        /// What to try.
        advice: String,
    },
    /// No agent received the request, so it did not run.
    #[error("no agent listens for instance {instance}: the broker {problem} queue {queue}")]
    NoAgent {
        /// The instance.
        instance: String,
        /// Its queue.
        queue: String,
        /// `has no`, or `has no consumer on`.
        problem: &'static str,
    },
    /// The connection closed before the answer arrived.
    #[error("the connection to {peer} ended before the answer came ({reason})")]
    BrokenOff {
        /// The socket or the broker.
        peer: String,
        /// The error on the connection.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer to {method} within {} s", .limit.as_secs_f32())]
    Timeout {
        /// The called method.
        method: String,
        /// The timeout.
        limit: Duration,
    },
    /// The answer cannot be read.
    #[error("the answer can't be read: {0}")]
    Undecodable(DecodeError),
}

impl CallError {
    /// Whether the request may have been executed, completely or in part.
    pub fn may_have_taken_effect(&self) -> bool {
        let nothing_done =
            [FailureClass::UserNotFound, FailureClass::DatabaseNotFound, FailureClass::UserAlreadyExists];
        match self {
            Self::Unreachable { .. } | Self::NoAgent { .. } => false,
            Self::Failure(failure) => !nothing_done.iter().any(|class| failure.is(*class)),
            Self::BrokenOff { .. } | Self::Timeout { .. } | Self::Undecodable(_) => true,
        }
    }

    /// What to try.
    pub fn advice(&self) -> Option<String> {
        let text = match self {
            Self::Failure(failure) => return of_a_failure(failure),
            Self::Unreachable { advice, .. } => advice,
            Self::NoAgent { .. } => {
                "check the instance's id and --control-exchange; on the instance `systemctl status \
                 trove-couchdb-agent` shows whether the agent runs and reaches the broker"
            }
            Self::BrokenOff { .. } => {
                "look whether the command took effect, then repeat it: the agent may have been restarted"
            }
            Self::Timeout { .. } => {
                "`trove-couchdb status` shows whether the agent waits for CouchDB; with a longer --timeout the \
                 command may still succeed. It may also have taken effect: look before you repeat it"
            }
            Self::Undecodable(DecodeError::Cipher { .. }) => {
                "give the instance's own key with --key-file, or none if the instance has none"
            }
            Self::Undecodable(_) => "update trove-couchdb and the agent to the same version",
        };
        Some(text.to_owned())
    }
}

fn of_a_failure(failure: &Failure) -> Option<String> {
    let text = if failure.is(FailureClass::NoSuchMethod) || failure.is(FailureClass::UnsupportedVersion) {
        "the agent is older than this program: update the agent, or use the program of its version"
    } else if failure.is(FailureClass::CouchDbError) {
        "`trove-couchdb doctor` on the instance checks each link to CouchDB"
    } else if failure.is(FailureClass::InvalidRequest) && failure.message.contains("crypt") {
        "give the instance's instance_rpc_encr_key with --key-file, or none if the instance has none"
    } else {
        return None;
    };
    Some(text.to_owned())
}

/// The value of a final reply.
pub(super) fn outcome(reply: Reply) -> Result<Value, CallError> {
    match reply.outcome {
        Outcome::Success(value) => Ok(value),
        Outcome::Failure(failure) => Err(CallError::Failure(failure)),
    }
}
