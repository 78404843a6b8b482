//! A single event.

/// The result of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Way {
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
    /// The queue of the caller is gone, or the broker refuses the answer: the publisher keeps it and reports
    /// success, so the message is acknowledged although the answer was not received. A process on the machine that
    /// is gone looks the same to the core, before its command has run and after.
    Returned,
}

/// A single event.
///
/// Some events look to the core like others. A cancelled consumer ends the session, as `Lose` does. A channel
/// that the broker closes because of a message is `CloseChannel`: what was under way is published again. A
/// disk that refuses the marks of reads at the end is `Kill`, which loses the same marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Start,
    Connect,
    /// The task with this number is carried out.
    Carry(u8, Way),
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
    GiveUp(u8),
    /// An operator cancels the operation with this number.
    Cancel(u8),
    /// The disk has the cancellation.
    Cancelled(u8),
    Kill,
    /// The process is killed, and the record of this message or operation is unreadable.
    Tear(u8),
    /// The agent does not wait any longer for the tasks that are still open when it stops.
    GraceOver,
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
            Self::Carry(_, way) => way != Way::Well,
            Self::Kill
            | Self::Tear(_)
            | Self::GraceOver
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
