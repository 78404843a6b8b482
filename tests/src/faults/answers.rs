//! Answers counted as oslo.messaging hears them.
//!
//! A caller waits for one `_msg_id`; the first reply with `ending` wakes it, and a later one finds nobody waiting
//! (`amqpdriver.py`, `ReplyWaiters.put`). The conductor runs what it is sent, except for a message whose `_unique_id` is
//! among the last 16 (`amqp.py`, `_MsgIdCache`). So an answer that the agent publishes once more after a crash must have
//! the same `_unique_id`: then it is the same message delivered twice, and nobody hears it twice. Here:
//!
//! - *given twice*: two answers of one command with different `_unique_id`s. Must not be.
//! - *repeated*: the same `_unique_id` again, whether the broker or the agent sent it again. Harmless; counted.
//! - *changed*: repeated, and the outcome differs from the first. Not heard by anybody; counted.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Answers by the key of their command: `_msg_id` of a call, the notification's `request_id` of a cast.
#[derive(Debug)]
pub struct Answers<T> {
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    waiting: HashMap<String, oneshot::Sender<T>>,
    first: HashMap<String, (String, T)>,
    ids: HashSet<String>,
    tally: Tally,
}

/// How answers came.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Commands with an answer.
    pub answered: usize,
    /// Keys of commands that were answered twice.
    pub given_twice: Vec<String>,
    /// Deliveries of an answer that had been delivered before.
    pub repeated: usize,
    /// Those of them that said something else.
    pub changed: usize,
}

impl<T: Clone + PartialEq> Answers<T> {
    /// No answers yet.
    pub fn new() -> Self {
        let inner = Inner {
            waiting: HashMap::new(),
            first: HashMap::new(),
            ids: HashSet::new(),
            tally: Tally::default(),
        };
        Self { inner: Mutex::new(inner) }
    }

    /// The first answer for a key, perhaps not there yet; to be called before the command is sent.
    pub fn expect(&self, key: &str) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.lock().waiting.insert(key.to_owned(), sender);
        receiver
    }

    /// Takes an answer in.
    pub fn take(&self, key: &str, unique_id: &str, answer: T) {
        let mut inner = self.lock();
        let known = !inner.ids.insert(unique_id.to_owned());
        match inner.first.get(key).map(|(_, first)| *first != answer) {
            None => {
                inner.first.insert(key.to_owned(), (unique_id.to_owned(), answer.clone()));
                inner.tally.answered += 1;
                if let Some(waiter) = inner.waiting.remove(key) {
                    // A caller that gave up no longer listens.
                    let _heard = waiter.send(answer);
                }
            }
            Some(_) if !known => inner.tally.given_twice.push(key.to_owned()),
            Some(differs) => {
                inner.tally.repeated += 1;
                inner.tally.changed += usize::from(differs);
            }
        }
    }

    /// How answers came so far.
    pub fn tally(&self) -> Tally {
        self.lock().tally.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + PartialEq> Default for Answers<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_same_message_twice_is_one_answer_and_another_message_is_a_second() {
        let answers = Answers::new();
        let mut heard = answers.expect("call");
        answers.take("call", "id-1", 1);
        answers.take("call", "id-1", 1);
        answers.take("call", "id-1", 2);
        assert_eq!(heard.try_recv().unwrap(), 1);
        assert!(answers.tally().given_twice.is_empty());
        assert_eq!((answers.tally().answered, answers.tally().repeated, answers.tally().changed), (1, 2, 1));
        answers.take("call", "id-2", 1);
        assert_eq!(answers.tally().given_twice, ["call"]);
    }
}
