//! Each command once: the last `_unique_id`s, and what became of them.
//!
//! oslo.messaging keeps the last 16 ids and forgets them at a restart. Here an id is known from the moment its
//! message arrives. A second delivery of it, whether a publisher's retry or the broker's redelivery after a
//! lost connection, waits for the first run to end, delivers the answer if the first could not, and never runs.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, watch};
use trove_couchdb_protocol::{Failure, FailureClass, Outcome};

use super::{answer::Publication, origin::Way};

/// What has become of a command.
#[derive(Debug, Clone)]
enum State {
    Running,
    Done(Finished),
    /// Handed back to the broker.
    Gone,
}

/// A command that has run.
#[derive(Debug, Clone)]
pub(super) struct Finished {
    /// The answer, until it is delivered: then `None`, and the memory is free again.
    pub(super) answer: Answer,
    /// Which way the command came the first time, and the answer goes.
    pub(super) way: Way,
    pub(super) summary: Summary,
}

/// How a command ended, for who sends it once more over another way. Answers are not kept for that: they can be large,
/// and hold passwords.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Summary {
    /// Well, without a result.
    Done,
    /// Well, with a result that its first sender has.
    Answered,
    /// Badly.
    Failed(Failure),
}

impl Summary {
    pub(super) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Success(Value::Null) => Self::Done,
            Outcome::Success(_) => Self::Answered,
            Outcome::Failure(failure) => Self::Failed(failure.clone()),
        }
    }
}

impl From<Summary> for Outcome {
    fn from(summary: Summary) -> Self {
        match summary {
            Summary::Done => Self::Success(Value::Null),
            Summary::Failed(failure) => Self::Failure(failure),
            Summary::Answered => {
                let text = "a command with this id was carried out before, and its answer went to who sent it first; \
                            send it with a new id to have it done again";
                Self::Failure(Failure::new(FailureClass::Duplicate, text))
            }
        }
    }
}

/// Undelivered publications of a command that has run.
pub(super) type Answer = Arc<AsyncMutex<Option<Vec<Publication>>>>;

/// An answer that is still to be delivered.
pub(super) fn undelivered(publications: Vec<Publication>) -> Answer {
    Arc::new(AsyncMutex::new(Some(publications)))
}

/// The ids of late. Bounded: the oldest finished ones are forgotten.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    by_id: HashMap<String, watch::Receiver<State>>,
    finished: VecDeque<String>,
    /// Left in the broker before they had begun, and not handed out before that.
    left: VecDeque<String>,
    keep: usize,
}

/// So many ids of messages are remembered that were left in the broker.
const LEFT: usize = 1_024;

/// What to do with a message.
#[derive(Debug)]
pub(super) enum Sighting {
    /// Run it.
    First(Ticket),
    /// Wait for the run that is under way or over.
    Repeated(Repeat),
}

/// The duty to say what became of a command. Dropped without that, the id is forgotten.
#[derive(Debug)]
pub(super) struct Ticket {
    seen: Seen,
    id: String,
    state: watch::Sender<State>,
}

/// A later delivery of a known id.
#[derive(Debug)]
pub(super) struct Repeat {
    state: watch::Receiver<State>,
}

impl Seen {
    /// Remembers the last `keep` finished ids.
    pub(super) fn new(keep: usize) -> Self {
        let inner = Inner { by_id: HashMap::new(), finished: VecDeque::new(), left: VecDeque::new(), keep };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Notes an arrival.
    pub(super) fn sight(&self, id: &str) -> Sighting {
        let mut inner = self.lock();
        if let Some(state) = inner.by_id.get(id) {
            return Sighting::Repeated(Repeat { state: state.clone() });
        }
        let (state, receiver) = watch::channel(State::Running);
        inner.by_id.insert(id.to_owned(), receiver);
        Sighting::First(Ticket { seen: self.clone(), id: id.to_owned(), state })
    }

    /// A message goes back to the broker that no agent has begun: it is as new when it comes again.
    pub(super) fn is_left(&self, id: &str) {
        let mut inner = self.lock();
        inner.left.push_back(id.to_owned());
        while inner.left.len() > LEFT {
            inner.left.pop_front();
        }
    }

    /// Whether a message that comes again had only been left in the broker.
    pub(super) fn was_left(&self, id: &str) -> bool {
        let mut inner = self.lock();
        let place = inner.left.iter().position(|left| left == id);
        place.and_then(|place| inner.left.remove(place)).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// The command has run; whoever delivers the answer empties it.
    pub(super) fn finish(self, answer: Vec<Publication>, way: Way, summary: Summary) -> Answer {
        let answer = undelivered(answer);
        let finished = Finished { answer: Arc::clone(&answer), way, summary };
        self.state.send_replace(State::Done(finished));
        let mut inner = self.seen.lock();
        inner.finished.push_back(self.id.clone());
        while inner.finished.len() > inner.keep {
            if let Some(oldest) = inner.finished.pop_front() {
                inner.by_id.remove(&oldest);
            }
        }
        drop(inner);
        answer
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if matches!(&*self.state.borrow(), State::Running) {
            self.seen.lock().by_id.remove(&self.id);
            self.state.send_replace(State::Gone);
        }
    }
}

impl Repeat {
    /// Waits until the first run is over; `None` if it did not run to its end.
    pub(super) async fn finished(mut self) -> Option<Finished> {
        let state = self.state.wait_for(|state| !matches!(state, State::Running)).await;
        match state.as_deref() {
            Ok(State::Done(finished)) => Some(finished.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn first(seen: &Seen, id: &str) -> Ticket {
        match seen.sight(id) {
            Sighting::First(ticket) => ticket,
            Sighting::Repeated(_) => panic!("{id} is not new"),
        }
    }

    fn repeated(seen: &Seen, id: &str) -> Repeat {
        match seen.sight(id) {
            Sighting::Repeated(repeat) => repeat,
            Sighting::First(_) => panic!("{id} is new"),
        }
    }

    #[tokio::test]
    async fn a_repeat_waits_for_the_first_and_shares_its_answer() {
        let seen = Seen::new(10);
        let ticket = first(&seen, "a");
        let repeat = tokio::spawn(repeated(&seen, "a").finished());
        tokio::task::yield_now().await;
        assert!(!repeat.is_finished());
        let answer = ticket.finish(Vec::new(), Way::Bus, Summary::Done);
        let shared = repeat.await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&answer, &shared.answer));
        assert!(repeated(&seen, "a").finished().await.is_some(), "still known");
    }

    #[test]
    fn what_is_kept_of_an_outcome_holds_no_answer() {
        let again = |outcome: Outcome| Outcome::from(Summary::of(&outcome));
        assert_eq!(again(Outcome::Success(Value::Null)), Outcome::Success(Value::Null));
        let failure = Outcome::Failure(Failure::new(FailureClass::UserRejected, "why"));
        assert_eq!(again(failure.clone()), failure);
        let told = again(Outcome::Success("hunter2".into()));
        assert!(matches!(&told, Outcome::Failure(failure) if failure.class == "Duplicate"), "{told:?}");
        assert!(!format!("{told:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn what_was_handed_back_may_come_again() {
        let seen = Seen::new(10);
        let ticket = first(&seen, "a");
        let repeat = repeated(&seen, "a");
        drop(ticket);
        assert!(repeat.finished().await.is_none());
        first(&seen, "a");
    }

    #[test]
    fn what_was_left_in_the_broker_is_new_once() {
        let seen = Seen::new(10);
        assert!(!seen.was_left("a"));
        seen.is_left("a");
        seen.is_left("b");
        assert!(seen.was_left("a") && !seen.was_left("a") && seen.was_left("b"));
    }

    #[test]
    fn only_finished_ids_are_forgotten() {
        let seen = Seen::new(2);
        let running = first(&seen, "running");
        for id in ["a", "b", "c"] {
            first(&seen, id).finish(Vec::new(), Way::Bus, Summary::Done);
        }
        repeated(&seen, "running");
        repeated(&seen, "b");
        repeated(&seen, "c");
        first(&seen, "a");
        drop(running);
    }
}
