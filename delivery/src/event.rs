//! The events that the core handles, and the actions that it returns.

use std::fmt;

/// A message that was delivered by the broker or the local socket. Later deliveries have higher numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u64);

/// A fingerprint of a message: of its id, or of one of its encrypted parts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplayTag(pub [u8; 16]);

impl fmt::Debug for ReplayTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The objects that a command reads and writes.
pub trait Scopes {
    /// Whether two commands must run in the order of their arrival.
    fn conflicts_with(&self, other: &Self) -> bool;

    /// Whether the command changes nothing.
    fn only_reads(&self) -> bool;
}

/// The source of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// RabbitMQ, which keeps the message until it is acknowledged.
    Broker,
    /// A process on this machine, which waits for the answer. Its message is delivered once.
    Socket,
    /// The agent itself: a scheduled rotation. No caller waits for the answer.
    Own,
    /// The disk, which keeps an operation until it is finished. The message of this long command is already
    /// acknowledged.
    Disk,
}

impl Source {
    /// Whether the message is redelivered until it is acknowledged.
    pub(crate) fn comes_again(self) -> bool {
        matches!(self, Self::Broker | Self::Disk)
    }
}

/// A message that could be parsed at least as far as its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Delivered<S> {
    /// The number of this delivery.
    pub delivery: DeliveryId,
    /// The source of the message.
    pub source: Source,
    /// The tag of the message's id.
    pub id: ReplayTag,
    /// The tags of the message's encrypted parts.
    pub parts: Vec<ReplayTag>,
    /// An earlier agent, or this one on an earlier connection, may have run a part of the command.
    pub redelivered: bool,
    /// The request in the message.
    pub request: Request<S>,
}

/// The request in a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request<S> {
    /// A command that can run.
    Run(Work<S>),
    /// A request that can never run: an unknown method, wrong arguments.
    Refuse,
}

/// A command that can run.
#[allow(clippy::struct_excessive_bools, reason = "independent facts about one command")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Work<S> {
    /// The objects that it reads and writes.
    pub scopes: S,
    /// It makes a change, so a second run must be prevented permanently.
    pub changes: bool,
    /// It needs one of the slots for concurrent commands.
    pub needs_slot: bool,
    /// Its caller may have given up, which only the broker knows: it runs at once or stays with the broker.
    pub at_once: bool,
    /// It may take longer than the broker's consumer timeout: when it gets its lock, it is handed over to the
    /// disk as an operation.
    pub long: bool,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event<S, V> {
    /// A message has arrived.
    Delivered(Delivered<S>),
    /// A message has arrived that is not a request.
    Unreadable(DeliveryId),
    /// A call is requeued unread because it has waited in the agent for an unknown time.
    PutBack {
        /// The tag of the message's id.
        id: ReplayTag,
        /// The broker's redelivered flag.
        redelivered: bool,
    },
    /// The beginning of a command is recorded. If not `ready`, its prerequisites can't be stored, and it is
    /// refused.
    Noted {
        /// The command.
        delivery: DeliveryId,
        /// Whether the command can begin.
        ready: bool,
    },
    /// The disk accepted a long command as an operation, or rejected it.
    HandedOver {
        /// The command.
        delivery: DeliveryId,
        /// `None` if the disk rejected it.
        operation: Option<HandedOver<V>>,
    },
    /// A command is finished, or its refusal is composed.
    Finished {
        /// The command.
        delivery: DeliveryId,
        /// The outcome, as needed for a later answer.
        outcome: V,
        /// Whether it succeeded.
        succeeded: bool,
    },
    /// An attempt failed, and the command must run again after a pause.
    Failed {
        /// The command.
        delivery: DeliveryId,
        /// Whether a part of it may have taken effect.
        effect: bool,
    },
    /// The pause is over.
    Rested(DeliveryId),
    /// The agent's shutdown interrupted a running command.
    CutShort(DeliveryId),
    /// The disk accepted an outcome, or rejected it.
    Written {
        /// The command.
        delivery: DeliveryId,
        /// Whether the outcome is on disk.
        stored: bool,
    },
    /// An answer can't be lost any more. If not `sent`, the agent is stopping and the broker accepts nothing.
    Replied {
        /// The delivery that is answered.
        delivery: DeliveryId,
        /// Whether the answer is safe.
        sent: bool,
    },
    /// An acknowledgement was sent. If not `sent`, the connection was lost, and the message is redelivered.
    Acknowledged {
        /// The delivery that is acknowledged.
        delivery: DeliveryId,
        /// Whether it was sent.
        sent: bool,
    },
    /// The caller has given up, or is about to.
    Expired(DeliveryId),
    /// No caller waits any more for a message that was left with the broker.
    Abandoned(DeliveryId),
    /// The task of a delivery panicked. Its message is abandoned.
    Panicked(DeliveryId),
    /// The broker has nothing left to deliver.
    CaughtUp,
    /// The agent is stopping.
    Terminate,
}

/// A long command that was written to disk as an operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HandedOver<V> {
    /// The operation, as a new delivery.
    pub operation: DeliveryId,
    /// The tag of the operation's id.
    pub id: ReplayTag,
    /// The answer to the sender of the command.
    pub outcome: V,
}

/// A requested action. An event reports its completion.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action<V> {
    /// Accept a new command. It waits for its lock.
    Accept(DeliveryId),
    /// The message was delivered before.
    Known(DeliveryId),
    /// Store what a command needs on disk, and record that it begins. Answered by [`Event::Noted`].
    NoteBeginning(DeliveryId),
    /// Run a command. Answered by [`Event::Finished`], [`Event::Failed`] or [`Event::CutShort`].
    Run {
        /// The command.
        delivery: DeliveryId,
        /// An earlier run may have done a part of it.
        again: bool,
    },
    /// Write a long command to disk as an operation. Answered by [`Event::HandedOver`].
    HandOver(DeliveryId),
    /// Pause, then report [`Event::Rested`].
    Rest(DeliveryId),
    /// Compose a refusal. Answered by [`Event::Finished`].
    Refuse {
        /// The command.
        delivery: DeliveryId,
        /// The reason.
        why: Refusal,
    },
    /// Write data that must survive a restart. Answered by [`Event::Written`].
    Write {
        /// The command.
        delivery: DeliveryId,
        /// The tag of its id.
        id: ReplayTag,
        /// The data to write.
        durable: Durable,
    },
    /// Answer a delivery. Answered by [`Event::Replied`].
    Reply {
        /// The delivery.
        delivery: DeliveryId,
        /// The answer.
        answer: Answer<V>,
    },
    /// Acknowledge a delivery. Answered by [`Event::Acknowledged`].
    Acknowledge(DeliveryId),
    /// Requeue the message at the broker, or inform its sender that the agent is stopping. The delivery is
    /// finished.
    Requeue(DeliveryId),
    /// Requeue the message at the broker, and fetch no other until [`Action::Fetch`].
    Leave(DeliveryId),
    /// Acknowledge first, then answer at most once. The delivery is finished.
    Reject {
        /// The delivery.
        delivery: DeliveryId,
        /// Whether parts of it were in another message.
        forged: bool,
    },
    /// Remove the record of a command.
    Forget(ReplayTag),
    /// Remember these tags. They reach the disk with a later write.
    Remember(Vec<ReplayTag>),
    /// Fetch messages again: the one that was left with the broker could begin now, or has expired.
    Fetch(DeliveryId),
}

/// Data that must survive a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durable {
    /// The outcome of a command of the broker, for a second answer.
    Outcome,
    /// The same outcome again, after a pause: the disk rejected it before.
    OutcomeAgain,
    /// The tag of a local command, which must not run again as a message of the broker.
    Tag,
}

/// The answer to a delivery.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer<V> {
    /// The outcome that the agent's tasks hold.
    Own,
    /// The outcome of the same command, received by another transport. The first sender has the result.
    Like(V),
    /// The outcome that an earlier agent recorded.
    Recorded(V),
    /// The command was carried out; its outcome is no longer known.
    AlreadyDone,
}

/// The reason why a command does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The request can never run.
    Unacceptable,
    /// Its caller gave up before it could begin.
    Expired(WaitsFor),
    /// Its prerequisites can't be stored.
    NotStored,
    /// The disk rejects the outcome of an earlier command.
    Held(DeliveryId),
    /// An earlier agent left a command half done, and the broker has not redelivered it yet.
    Interrupted,
    /// An operation that may take hours works on the same user or database.
    Operation(DeliveryId),
}

/// The resource for which a command waits before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitsFor {
    /// The lock, which earlier commands on the same user or database hold.
    Lock,
    /// A slot.
    Slot,
}
