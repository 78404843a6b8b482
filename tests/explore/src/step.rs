//! One thing that happens.

/// How a task comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    Well,
    /// The disk takes nothing.
    DiskFails,
    /// CouchDB fails in the middle, and is asked again.
    FailsForNow,
    /// CouchDB fails for good.
    Fails,
    /// The broker takes nothing, and the agent ends.
    Blocked,
    /// The agent ends and does not wait for it.
    CutShort,
    /// Its task panics.
    Panics,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Start,
    Connect,
    /// The task of this number is carried out.
    Carry(u8, Way),
    /// The broker has read an acknowledgement.
    Acknowledged,
    Deliver,
    /// A call comes that has waited here for an unknown time, and is put back unread.
    PutBack,
    CaughtUp,
    Publish,
    /// A process of the machine, or the agent's own schedule, sends a message.
    Send(u8),
    Exit,
    GiveUp(u8),
    Kill,
    Lose,
    /// The broker closes the channel that answers are published on.
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
