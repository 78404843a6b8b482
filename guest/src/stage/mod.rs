//! How far this guest is on its way to being a database, as its state directory remembers it.
//!
//! The agent writes it (`preparation`); the operator's tool reads it.

mod file;

pub use file::{Found, StageFile, stage_in};

/// How far this guest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// `prepare` has not come.
    Awaited,
    /// It is being carried out, or was when the last agent died.
    Building {
        /// The `_unique_id` of the request that began it: a later one finds by it what that one made.
        id: String,
    },
    /// It could not be carried out.
    Failed {
        /// As in [`Stage::Building`].
        id: String,
        /// Why, in the words that the user was given.
        reason: String,
    },
    /// The guest is a database, and nobody has seen it healthy since.
    Settling,
    /// The guest is a database.
    Prepared,
}

impl Stage {
    /// Whether `prepare` has nothing left to do.
    pub fn is_prepared(&self) -> bool {
        matches!(self, Self::Settling | Self::Prepared)
    }
}
