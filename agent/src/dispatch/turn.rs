//! Waiting for one's turn: the async side of [`Order`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use trove_couchdb_protocol::Seal;

use super::order::{Order, Place};
use crate::commands::Scopes;

#[derive(Debug, Default)]
struct Queue {
    order: Order,
    waiting: HashMap<Place, Waiting>,
    /// Commands that have ended and can't leave yet, and why.
    held: BTreeMap<Place, String>,
    /// Commands that an earlier agent has begun and not ended, until they are delivered again.
    interrupted: HashMap<Seal, Scopes>,
}

/// Why a local command is not run while an interrupted one is on its way.
const INTERRUPTED: &str = "an earlier command on the same user or database, which came from the broker, was interrupted and may \
                           be half done; the broker delivers it again as soon as it can be reached, and nothing else is \
                           changed there before: see `trove-couchdb status`, and try again";

#[derive(Debug)]
struct Waiting {
    call: oneshot::Sender<Called>,
    behind_held: BehindHeld,
}

/// What a command does that comes behind one that has ended and can't leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BehindHeld {
    /// It waits: its message is the broker's, as is that of the other one.
    Waits,
    /// It is refused: its caller is on this machine and can do something about it.
    IsRefused,
}

/// What a command hears that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Called {
    /// It may run.
    ToRun,
    /// It is not to run, since an earlier command is in the way for a time that nobody knows; the text says why.
    Off(String),
}

/// The one queue of the agent.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    queue: Arc<Mutex<Queue>>,
}

/// A command's place in the queue; given up when dropped.
#[derive(Debug)]
pub struct Turn {
    queue: Arc<Mutex<Queue>>,
    place: Place,
    /// `None` when it may run.
    called: Option<oneshot::Receiver<Called>>,
}

impl Turns {
    /// Takes a place. Call it in the order of arrival, before anything is awaited.
    pub(super) fn take(&self, scopes: Scopes, behind_held: BehindHeld) -> Turn {
        let mut queue = lock(&self.queue);
        let is_local = behind_held == BehindHeld::IsRefused;
        let interrupted = is_local && queue.is_interrupted(&scopes);
        let (place, free) = queue.order.enter(scopes);
        let called = (interrupted || !free).then(|| {
            let (call, called) = oneshot::channel();
            if interrupted {
                // The receiver is here.
                let _heard = call.send(Called::Off(INTERRUPTED.to_owned()));
            } else {
                queue.waiting.insert(place, Waiting { call, behind_held });
                queue.call_off();
            }
            called
        });
        Turn { queue: Arc::clone(&self.queue), place, called }
    }
}

impl Turns {
    /// A command of these writes has been begun and not ended by an earlier agent; it comes again by this mark.
    pub(super) fn is_interrupted(&self, mark: Seal, scopes: Scopes) {
        lock(&self.queue).interrupted.insert(mark, scopes);
    }

    /// It has come again, and has a place.
    pub(super) fn has_come_again(&self, mark: Seal) {
        lock(&self.queue).interrupted.remove(&mark);
    }

    /// None will come again.
    pub(super) fn none_is_interrupted(&self) {
        lock(&self.queue).interrupted.clear();
    }
}

impl Queue {
    /// Whether this would change what an interrupted command writes. To read it does no harm.
    fn is_interrupted(&self, scopes: &Scopes) -> bool {
        !scopes.only_reads() && self.interrupted.values().any(|one| one.conflicts_with(scopes))
    }

    /// Tells those that need not wait for it that a command can't leave.
    fn call_off(&mut self) {
        for (held, reason) in &self.held {
            for place in self.order.all_behind(*held) {
                if self.waiting.get(&place).is_none_or(|one| one.behind_held == BehindHeld::Waits) {
                    continue;
                }
                if let Some(waiting) = self.waiting.remove(&place) {
                    // Nobody listens any more: its own drop is on its way.
                    let _listening = waiting.call.send(Called::Off(reason.clone()));
                }
            }
        }
    }
}

impl Turn {
    /// Whether no earlier command is in the way.
    pub fn has_come(&self) -> bool {
        self.called.is_none()
    }

    /// Waits until no earlier command is in the way, or until it is clear that this one is not to wait.
    pub async fn come(&mut self) -> Called {
        if let Some(called) = &mut self.called {
            // The sender lives in the queue until it calls.
            match called.await {
                Ok(Called::ToRun) | Err(_) => self.called = None,
                Ok(Called::Off(reason)) => return Called::Off(reason),
            }
        }
        Called::ToRun
    }

    /// The command has ended, and those behind it can't run before the disk has its outcome, which it refuses for this
    /// reason.
    pub fn hold(&self, reason: &str) {
        let text = format!(
            "an earlier command on the same user or database, which came from the broker, has ended, and its outcome can't be \
             written to the agent's state directory ({reason}); until it can, or the broker has heard of it, nothing else is \
             done there: repair the directory and try again"
        );
        let mut queue = lock(&self.queue);
        queue.held.insert(self.place, text);
        queue.call_off();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = lock(&self.queue);
        queue.waiting.remove(&self.place);
        queue.held.remove(&self.place);
        for place in queue.order.leave(self.place) {
            if let Some(waiting) = queue.waiting.remove(&place) {
                // Nobody listens any more: its own drop comes after this one.
                let _listening = waiting.call.send(Called::ToRun);
            }
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::commands::tests::decoded;

    fn take(turns: &Turns, behind_held: BehindHeld, name: &str) -> Turn {
        turns.take(decoded("delete_user", &json!({"user": {"_name": name}})).scopes(), behind_held)
    }

    #[tokio::test]
    async fn a_turn_comes_when_the_earlier_one_is_dropped() {
        let turns = Turns::default();
        let mut first = take(&turns, BehindHeld::Waits, "al");
        let mut second = take(&turns, BehindHeld::Waits, "al");
        let given_up = take(&turns, BehindHeld::Waits, "al");
        let mut third = take(&turns, BehindHeld::Waits, "al");
        first.come().await;
        drop(given_up);
        let waiting = tokio::spawn(async move {
            second.come().await;
            second
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        drop(waiting.await.unwrap());
        third.come().await;
    }

    #[tokio::test]
    async fn behind_one_that_can_not_leave_local_commands_are_refused_and_others_wait() {
        let turns = Turns::default();
        let first = take(&turns, BehindHeld::Waits, "al");
        let mut local = take(&turns, BehindHeld::IsRefused, "al");
        let mut broker = take(&turns, BehindHeld::Waits, "al");
        first.hold("the disk is full");
        let is_off =
            |called: Called| matches!(called, Called::Off(text) if text.contains("(the disk is full)"));
        assert!(is_off(local.come().await));
        let mut later = take(&turns, BehindHeld::IsRefused, "al");
        assert!(is_off(later.come().await), "also behind one of the broker that waits");
        assert!(take(&turns, BehindHeld::IsRefused, "bo").has_come(), "another user");
        drop((local, later));
        drop(first);
        assert_eq!(broker.come().await, Called::ToRun);
        let mut local = take(&turns, BehindHeld::IsRefused, "al");
        drop(broker);
        assert_eq!(local.come().await, Called::ToRun);
    }

    #[tokio::test]
    async fn local_changes_are_refused_until_an_interrupted_command_comes_again() {
        let turns = Turns::default();
        let scopes = |method: &str| {
            decoded(method, &json!({"user": {"_name": "al"}, "username": "al", "hostname": "%"})).scopes()
        };
        let mark = Seal([7; 16]);
        turns.is_interrupted(mark, scopes("delete_user"));
        assert!(matches!(take(&turns, BehindHeld::IsRefused, "al").come().await, Called::Off(_)));
        assert!(take(&turns, BehindHeld::IsRefused, "bo").has_come());
        assert!(turns.take(scopes("list_access"), BehindHeld::IsRefused).has_come(), "a read");
        let again = take(&turns, BehindHeld::Waits, "al");
        turns.has_come_again(mark);
        assert!(again.has_come());
        let mut local = take(&turns, BehindHeld::IsRefused, "al");
        drop(again);
        assert_eq!(local.come().await, Called::ToRun);
        drop(local);
        turns.is_interrupted(mark, scopes("delete_user"));
        turns.none_is_interrupted();
        assert!(take(&turns, BehindHeld::IsRefused, "al").has_come());
    }
}
