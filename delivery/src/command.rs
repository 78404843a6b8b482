//! The state of a command from arrival to completion.

use crate::event::{DeliveryId, Mark, Refusal, Source};

/// The stage of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Requeued at the broker. It keeps its position in the order until it could begin.
    Left,
    /// Waiting for earlier commands.
    Waiting,
    /// Waiting for a free slot.
    Ready,
    /// Being written to disk as an operation.
    HandingOver,
    /// Its beginning is being recorded.
    Noting {
        /// The reason if it will not run.
        refused: Option<Refusal>,
    },
    /// Running.
    Running,
    /// Waiting for its next attempt.
    Resting,
    /// Its refusal is being composed.
    Refusing,
    /// Its outcome is being written.
    Writing,
    /// Its answer is being sent.
    Answering,
    /// Its acknowledgement is being sent.
    Acknowledging,
    /// Answered and acknowledged, but its outcome is not on disk yet.
    Held,
}

/// The state of a command.
#[allow(clippy::struct_excessive_bools, reason = "independent facts; how far it is, is the stage")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Command<V> {
    pub(crate) source: Source,
    pub(crate) id: Mark,
    pub(crate) parts: Vec<Mark>,
    pub(crate) changes: bool,
    pub(crate) needs_place: bool,
    /// It is handed over to the disk when it gets its lock.
    pub(crate) long: bool,
    /// An earlier run may have done a part of it.
    pub(crate) again: bool,
    /// This agent began to run it.
    pub(crate) has_begun: bool,
    /// An earlier agent began to run it.
    pub(crate) was_interrupted: bool,
    pub(crate) stage: Stage,
    /// The same command from a local process, which arrived earlier. If it succeeds, this one is answered and
    /// does not run.
    pub(crate) twin: Option<DeliveryId>,
    /// It holds or waits for its lock, and blocks later commands.
    pub(crate) has_turn: bool,
    pub(crate) outcome: Option<V>,
    pub(crate) succeeded: bool,
    /// The disk rejected its outcome.
    pub(crate) is_unwritten: bool,
    /// Other deliveries of the same message that wait for its answer.
    pub(crate) repeats: Vec<DeliveryId>,
}

impl<V> Command<V> {
    /// A command that has just arrived.
    pub(crate) fn new(source: Source, id: Mark, parts: Vec<Mark>, stage: Stage) -> Self {
        Self {
            source,
            id,
            parts,
            changes: false,
            needs_place: false,
            long: false,
            again: false,
            has_begun: false,
            was_interrupted: false,
            stage,
            twin: None,
            has_turn: false,
            outcome: None,
            succeeded: true,
            is_unwritten: false,
            repeats: Vec::new(),
        }
    }

    /// Whether its outcome must be on disk before the next command begins.
    pub(crate) fn lasts(&self) -> bool {
        self.changes && self.source.comes_again()
    }

    /// Whether a message of the broker with the same id must run all the same. The failure of a local command
    /// is not recorded, so the broker's message needs its own record.
    pub(crate) fn failed_locally(&self) -> bool {
        self.source == Source::Socket && self.changes && !self.succeeded
    }
}

/// Another delivery of a message that is in flight or finished.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Repeat {
    pub(crate) id: Mark,
    pub(crate) source: Source,
    /// The source of the first delivery. Only the broker delivers the same message twice.
    pub(crate) first_source: Source,
}

impl Repeat {
    /// Whether this is the same message from the same queue, which gets the same answer.
    pub(crate) fn is_same_message(&self) -> bool {
        self.source == Source::Broker && self.first_source == Source::Broker
    }
}
