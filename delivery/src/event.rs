//! What the core is told, and what it asks for.

use std::fmt;

/// One message that the broker or the local socket has handed over. Later ones have higher numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u64);

/// A fingerprint of a message: of its id, or of one of its encrypted parts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub [u8; 16]);

impl fmt::Debug for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// What a command reads and writes.
pub trait Scopes {
    /// Whether two commands must keep their order.
    fn conflicts_with(&self, other: &Self) -> bool;

    /// Whether nothing is changed.
    fn only_reads(&self) -> bool;
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// RabbitMQ, which keeps the message until it is acknowledged.
    Broker,
    /// A process of this machine, which waits for the answer. Its message is delivered once.
    Socket,
    /// The agent itself: a scheduled rotation. Nobody waits for the answer.
    Own,
    /// The disk, which keeps an operation until its end is told: a long command whose message is acknowledged already.
    Disk,
}

impl Source {
    /// Whether the message comes again as long as its end is not acknowledged.
    pub(crate) fn comes_again(self) -> bool {
        matches!(self, Self::Broker | Self::Disk)
    }
}

/// A message that was understood well enough to have an id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Delivered<S> {
    /// This delivery of it.
    pub delivery: DeliveryId,
    /// Where it comes from.
    pub source: Source,
    /// The mark of its id.
    pub id: Mark,
    /// The marks of its encrypted parts.
    pub parts: Vec<Mark>,
    /// An earlier agent, or this one on an earlier connection, may have run a part of it.
    pub redelivered: bool,
    /// What it asks for.
    pub request: Request<S>,
}

/// What a message asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request<S> {
    /// A command that can run.
    Run(Work<S>),
    /// Something that can't be run, whatever happens: an unknown method, wrong arguments.
    Refuse,
}

/// A command that can run.
#[allow(clippy::struct_excessive_bools, reason = "independent facts about one command")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Work<S> {
    /// What it reads and writes.
    pub scopes: S,
    /// It changes something: a second run must be prevented for good.
    pub changes: bool,
    /// It takes one of the places of commands that run at the same time.
    pub needs_place: bool,
    /// Its caller may have given up, which only the broker knows: it runs at once or stays with the broker.
    pub at_once: bool,
    /// It may outlast the broker's patience: when its turn has come it is handed over to the disk, as an operation.
    pub long: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event<S, V> {
    /// A message has arrived.
    Delivered(Delivered<S>),
    /// A message has arrived that is no request.
    Unreadable(DeliveryId),
    /// A call goes back to the broker unread, as it has waited here for an unknown time.
    PutBack {
        /// The mark of its id.
        id: Mark,
        /// The broker's flag.
        redelivered: bool,
    },
    /// The beginning of a command is noted. Not `ready`: what it needs to begin can't be stored, and it is to be refused.
    Noted {
        /// Which one.
        delivery: DeliveryId,
        /// It can begin.
        ready: bool,
    },
    /// The disk has a long command as an operation, or not.
    HandedOver {
        /// Which one.
        delivery: DeliveryId,
        /// `None` if the disk did not take it.
        operation: Option<HandedOver<V>>,
    },
    /// A command has ended, or its refusal is worded.
    Finished {
        /// Which one.
        delivery: DeliveryId,
        /// How, as far as a later answer needs it.
        outcome: V,
        /// Whether it succeeded.
        succeeded: bool,
    },
    /// An attempt failed, and the command is to run again after a rest.
    Failed {
        /// Which one.
        delivery: DeliveryId,
        /// A part of it may have taken effect.
        effect: bool,
    },
    /// The rest is over.
    Rested(DeliveryId),
    /// A command that had begun was cut short by the agent's end.
    CutShort(DeliveryId),
    /// The disk has taken an outcome, or not.
    Written {
        /// Whose.
        delivery: DeliveryId,
        /// The disk has it.
        stored: bool,
    },
    /// An answer is where it can't be lost any more. Not `sent`: the agent ends, and the broker takes nothing.
    Replied {
        /// To which delivery.
        delivery: DeliveryId,
        /// It is safe.
        sent: bool,
    },
    /// An acknowledgement has gone out. Not `sent`: its connection is lost, and the message comes again.
    Acknowledged {
        /// Of which delivery.
        delivery: DeliveryId,
        /// It has gone out.
        sent: bool,
    },
    /// The caller has given up, or is about to.
    Expired(DeliveryId),
    /// Nobody waits any more for a message that was left with the broker.
    Abandoned(DeliveryId),
    /// The task of a delivery panicked; its message is given up.
    Panicked(DeliveryId),
    /// The broker has nothing left to deliver.
    CaughtUp,
    /// The agent ends.
    Terminate,
}

/// A long command that the disk keeps from now on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HandedOver<V> {
    /// The operation, as another delivery.
    pub operation: DeliveryId,
    /// The mark of the operation's id.
    pub id: Mark,
    /// What whoever sent the command is told.
    pub outcome: V,
}

/// What is to be done. The core is told when it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action<V> {
    /// A new command: it waits for its turn.
    Accept(DeliveryId),
    /// The message came before.
    Known(DeliveryId),
    /// Note that a command begins, and whatever it needs on the disk before. Answered by [`Event::Noted`].
    NoteBeginning(DeliveryId),
    /// Run a command. Answered by [`Event::Finished`], [`Event::Failed`] or [`Event::CutShort`].
    Run {
        /// Which one.
        delivery: DeliveryId,
        /// An earlier run may have done a part of it.
        again: bool,
    },
    /// Write a long command down as an operation. Answered by [`Event::HandedOver`].
    HandOver(DeliveryId),
    /// Rest, then report [`Event::Rested`].
    Rest(DeliveryId),
    /// Word a refusal. Answered by [`Event::Finished`].
    Refuse {
        /// Of which command.
        delivery: DeliveryId,
        /// Why.
        why: Refusal,
    },
    /// Write what must survive the agent. Answered by [`Event::Written`].
    Write {
        /// Of which command.
        delivery: DeliveryId,
        /// The mark of its id.
        id: Mark,
        /// What.
        kept: Kept,
    },
    /// Answer a delivery. Answered by [`Event::Replied`].
    Reply {
        /// Which one.
        delivery: DeliveryId,
        /// With what.
        answer: Answer<V>,
    },
    /// The delivery is done. Answered by [`Event::Acknowledged`].
    Acknowledge(DeliveryId),
    /// Give the message back to the broker, or say to its sender that the agent stops. The delivery is over.
    Requeue(DeliveryId),
    /// Give the message back to the broker, and fetch no other until [`Action::Fetch`].
    Leave(DeliveryId),
    /// Acknowledge first, then answer at most once. The delivery is over.
    Reject {
        /// Which one.
        delivery: DeliveryId,
        /// Parts of it were in another message.
        forged: bool,
    },
    /// The record of a command is needed no longer.
    Forget(Mark),
    /// These marks reach the disk with a later write.
    Remember(Vec<Mark>),
    /// A message that was left with the broker could begin now, or has expired there.
    Fetch(DeliveryId),
}

/// What must survive the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kept {
    /// The outcome of a command of the broker, for a second answer.
    Outcome,
    /// The same, which the disk has refused before: after a pause.
    OutcomeAgain,
    /// The mark of a command of this machine, which the broker must not run.
    Mark,
}

/// What a delivery is answered with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer<V> {
    /// The outcome that the tasks have at hand.
    Own,
    /// The outcome of the same message, which came another way: whoever sent it first has the result.
    Like(V),
    /// The outcome that an earlier agent wrote down.
    Recorded(V),
    /// That it was carried out; how is not known any more.
    CarriedOut,
}

/// Why a command does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// It can't be run at all.
    Unacceptable,
    /// Its caller gave up before it could begin.
    Expired(WaitsFor),
    /// What it needs to begin can't be stored.
    NotStored,
    /// The disk does not take the outcome of an earlier command.
    Held(DeliveryId),
    /// An earlier agent left a command half done, and the broker has not delivered it again yet.
    Interrupted,
    /// An operation that may take hours works on the same thing.
    Operation(DeliveryId),
}

/// What a command waits for that has not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitsFor {
    /// Earlier commands on the same thing.
    Turn,
    /// One of the places.
    Place,
}
