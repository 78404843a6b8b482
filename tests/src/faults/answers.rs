//! Counts answers as oslo.messaging receives them.
//!
//! A caller waits for one `_msg_id`. The first reply with `ending` wakes it; later replies are ignored
//! (`amqpdriver.py`, `ReplyWaiters.put`). The conductor runs every message except those whose `_unique_id` is
//! among the last 16 (`amqp.py`, `_MsgIdCache`). So an answer that the agent publishes again after a crash
//! must keep its `_unique_id`: the receiver then drops it as a duplicate. In this module:
//!
//! - *given twice*: two answers to one command with different `_unique_id`s. Not allowed.
//! - *repeated*: the same `_unique_id` again, from the broker or from the agent. Harmless; counted.
//! - *changed*: repeated, with an outcome that differs from the first. No receiver sees it; counted.

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
    counters: AnswerCounters,
}

/// Counts of answers.
#[derive(Debug, Clone, Default)]
pub struct AnswerCounters {
    /// Commands with an answer.
    pub answered: usize,
    /// Keys of commands that were answered twice with different `_unique_id`s.
    pub given_twice: Vec<String>,
    /// Repeated deliveries of an answer.
    pub repeated: usize,
    /// Repeated deliveries with a different outcome.
    pub changed: usize,
}

impl<T: Clone + PartialEq> Answers<T> {
    /// Creates an empty collection.
    pub fn new() -> Self {
        let inner = Inner {
            waiting: HashMap::new(),
            first: HashMap::new(),
            ids: HashSet::new(),
            counters: AnswerCounters::default(),
        };
        Self { inner: Mutex::new(inner) }
    }

    /// The first answer for a key, which may not have arrived yet; call it before the command is sent.
    pub fn expect(&self, key: &str) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.lock().waiting.insert(key.to_owned(), sender);
        receiver
    }

    /// Records an answer.
    pub fn take(&self, key: &str, unique_id: &str, answer: T) {
        let mut inner = self.lock();
        let known = !inner.ids.insert(unique_id.to_owned());
        match inner.first.get(key).map(|(_, first)| *first != answer) {
            None => {
                inner.first.insert(key.to_owned(), (unique_id.to_owned(), answer.clone()));
                inner.counters.answered += 1;
                if let Some(waiter) = inner.waiting.remove(key) {
                    // A caller that gave up no longer listens.
                    let _heard = waiter.send(answer);
                }
            }
            Some(_) if !known => inner.counters.given_twice.push(key.to_owned()),
            Some(differs) => {
                inner.counters.repeated += 1;
                inner.counters.changed += usize::from(differs);
            }
        }
    }

    /// The counts so far.
    pub fn counters(&self) -> AnswerCounters {
        self.lock().counters.clone()
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
        assert!(answers.counters().given_twice.is_empty());
        assert_eq!(
            (answers.counters().answered, answers.counters().repeated, answers.counters().changed),
            (1, 2, 1)
        );
        answers.take("call", "id-2", 1);
        assert_eq!(answers.counters().given_twice, ["call"]);
    }
}
