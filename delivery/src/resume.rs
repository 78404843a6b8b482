//! Decides what a new agent knows and continues, from what an earlier agent stored.

use crate::{core::Resumed, event::Mark};

/// The record of a command whose message may be redelivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCommand<S, V> {
    /// The marks of its message; the mark of the id is the first.
    pub marks: Vec<Mark>,
    /// The objects that it changes. `None` if it had not begun.
    pub scopes: Option<S>,
    /// `None` if it had not ended.
    pub outcome: Option<V>,
}

/// The record of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOperation<V> {
    /// The mark of its own id.
    pub id: Mark,
    /// The marks of the message that it came from.
    pub message: Vec<Mark>,
    /// The answer to that message.
    pub handed_over: V,
    /// `None` if it had not ended.
    pub end: Option<V>,
    /// Its end was reported.
    pub is_told: bool,
}

/// Decides what a new agent knows. `marks` are those of finished messages, oldest first; operations come in
/// the order in which they began.
pub fn resume<S, V>(
    marks: Vec<Mark>,
    commands: Vec<StoredCommand<S, V>>,
    operations: Vec<StoredOperation<V>>,
    has_broker: bool,
) -> Resumed<S, V> {
    let (mut ended, mut interrupted, mut unfinished) = (Vec::new(), Vec::new(), Vec::new());
    for StoredCommand { marks, scopes, outcome } in commands {
        match (outcome, marks.first(), scopes) {
            (Some(outcome), ..) => ended.push((marks, outcome)),
            // Without a broker, an interrupted command is not redelivered.
            (None, Some(id), Some(scopes)) if has_broker => interrupted.push((*id, scopes)),
            _ => {}
        }
    }
    for StoredOperation { id, message, handed_over, end, is_told } in operations {
        ended.push((message, handed_over));
        if is_told {
            continue;
        }
        ended.extend(end.map(|end| (vec![id], end)));
        unfinished.push(id);
    }
    Resumed { marks, ended, interrupted, unfinished }
}
