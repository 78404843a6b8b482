//! `[operations]`: what is remembered of commands that take hours.

use std::time::Duration;

use crate::section::section;

section! {
    /// What is remembered of operations that are over.
    #[derive(Debug, Clone, Copy)]
    pub struct OperationSettings = "operations" {
        /// How many finished operations are kept for operation-list and operation-show. The oldest are removed
        /// first.
        keep: usize = "50", in 1..=10_000;
        /// How long a finished operation is kept.
        keep_for: Duration = "2592000", in 60.0..=315_360_000.0;
    }
}
