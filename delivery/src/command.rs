//! A command between its arrival and its end.

use crate::event::{DeliveryId, Mark, Refusal, Source};

/// How far a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Back with the broker; its place in the order is kept until it could begin.
    Left,
    /// Earlier commands are in its way.
    Waiting,
    /// Waits for one of the places.
    Ready,
    /// The disk is taking it over.
    HandingOver,
    /// Its beginning is being noted.
    Noting {
        /// Why it will not run after all.
        refused: Option<Refusal>,
    },
    /// Runs.
    Running,
    /// Waits before it runs again.
    Resting,
    /// Its refusal is being worded.
    Refusing,
    /// Its outcome is being written.
    Writing,
    /// Its answer is on the way.
    Answering,
    /// Its acknowledgement is on the way.
    Acknowledging,
    /// Nothing is on the way; the disk does not have its outcome yet.
    Held,
}

/// A command between its arrival and its end.
#[allow(clippy::struct_excessive_bools, reason = "independent facts; how far it is, is the stage")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Command<V> {
    pub(crate) source: Source,
    pub(crate) id: Mark,
    pub(crate) parts: Vec<Mark>,
    /// Its marks are kept from other messages, and are remembered when it is answered.
    pub(crate) is_fresh: bool,
    pub(crate) changes: bool,
    pub(crate) needs_place: bool,
    /// It is handed over to the disk when its turn has come.
    pub(crate) long: bool,
    /// An earlier run may have done a part of it.
    pub(crate) again: bool,
    /// It ran in this agent.
    pub(crate) has_begun: bool,
    /// An earlier agent has begun it.
    pub(crate) was_interrupted: bool,
    pub(crate) stage: Stage,
    /// The same command, sent by a process of this machine, and accepted earlier. If that one succeeds, this one is answered
    /// and does not run.
    pub(crate) twin: Option<DeliveryId>,
    /// It keeps later commands waiting.
    pub(crate) has_turn: bool,
    pub(crate) outcome: Option<V>,
    pub(crate) succeeded: bool,
    /// The disk has refused its outcome.
    pub(crate) is_unwritten: bool,
    /// Other deliveries of it that wait for its answer.
    pub(crate) repeats: Vec<DeliveryId>,
}

impl<V> Command<V> {
    /// One that has arrived.
    pub(crate) fn new(source: Source, id: Mark, parts: Vec<Mark>, stage: Stage) -> Self {
        Self {
            source,
            id,
            parts,
            is_fresh: true,
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

    /// Whether the disk must have its outcome before the next command begins.
    pub(crate) fn lasts(&self) -> bool {
        self.changes && self.source.comes_again()
    }

    /// Whether the broker's message with the same id is to run all the same: a failure for a process of the machine is
    /// not written down, so the broker's message has to leave a record of its own.
    pub(crate) fn failed_locally(&self) -> bool {
        self.source == Source::Socket && self.changes && !self.succeeded
    }

    /// Whether nothing of it was done by this agent.
    pub(crate) fn is_unbegun(&self) -> bool {
        !self.has_begun && matches!(self.stage, Stage::Left | Stage::Waiting | Stage::Ready)
    }
}

/// Another delivery of a message that is under way or over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Repeat {
    pub(crate) id: Mark,
    pub(crate) source: Source,
    /// The first delivery's: only the broker delivers the same message twice.
    pub(crate) first_source: Source,
}

impl Repeat {
    /// The same message from the same queue: its answer is the first one's.
    pub(crate) fn is_same_message(&self) -> bool {
        self.source == Source::Broker && self.first_source == Source::Broker
    }
}
