//! A single event.

/// The result of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Completion {
    Well,
    /// The disk refuses the write.
    DiskFails,
    /// CouchDB fails in the middle, and the request is retried.
    FailsForNow,
    /// CouchDB fails permanently.
    Fails,
    /// The broker accepts nothing, and the agent stops.
    Blocked,
    /// The agent stops without waiting for the task.
    CutShort,
    /// The task panics.
    Panics,
}

/// A single event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Start,
    Connect,
    /// The task with this number is carried out.
    Carry(u8, Completion),
    /// The broker has read an acknowledgement.
    Acknowledged,
    Deliver,
    /// A call that has waited in the broker for an unknown time is delivered and requeued unread.
    PutBack,
    CaughtUp,
    Publish,
    /// A local process, or the agent's own schedule, sends a message.
    Send(u8),
    Exit,
    CallerLeaves(u8),
    Kill,
    Lose,
    /// The broker closes the channel for publishing answers.
    CloseChannel,
    Terminate,
    PublishAgain(u8),
    LoseQueue,
}

impl Step {
    /// Whether it counts as a fault.
    pub(crate) fn is_fault(self) -> bool {
        match self {
            Self::Carry(_, completion) => completion != Completion::Well,
            Self::Kill
            | Self::Lose
            | Self::CloseChannel
            | Self::Terminate
            | Self::PublishAgain(_)
            | Self::PutBack
            | Self::LoseQueue => true,
            _ => false,
        }
    }
}
