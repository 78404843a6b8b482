//! Decides whether an operation ends as cancelled.

/// Whether an operator has cancelled an operation.
///
/// The two sides meet here: once the disk has a cancellation, the operation ends as cancelled, although it
/// may reach its end while the cancellation is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Cancellation {
    /// No operator has cancelled it.
    #[default]
    NotAsked,
    /// It ends as cancelled.
    Asked,
    /// Its outcome is decided.
    TooLate,
}

impl Cancellation {
    /// An operator cancels the operation. False if it is too late. Call this before the disk is written.
    pub fn ask(&mut self) -> bool {
        if *self == Self::NotAsked {
            *self = Self::Asked;
        }
        *self == Self::Asked
    }

    /// The operation has come to an end. True if it ends as cancelled, whatever its outcome is.
    pub fn settle(&mut self) -> bool {
        if *self == Self::NotAsked {
            *self = Self::TooLate;
        }
        *self == Self::Asked
    }
}
