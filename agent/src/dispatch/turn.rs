//! Waiting for one's turn: the async side of [`Order`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::{
    footprint::Footprint,
    order::{Order, Place},
};

#[derive(Debug, Default)]
struct Queue {
    order: Order,
    waiting: HashMap<Place, oneshot::Sender<()>>,
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
    called: Option<oneshot::Receiver<()>>,
}

impl Turns {
    /// Takes a place. Call it in the order of arrival, before anything is awaited.
    pub(super) fn take(&self, footprint: Footprint) -> Turn {
        let mut queue = lock(&self.queue);
        let (place, free) = queue.order.enter(footprint);
        let called = (!free).then(|| {
            let (call, called) = oneshot::channel();
            queue.waiting.insert(place, call);
            called
        });
        Turn { queue: Arc::clone(&self.queue), place, called }
    }
}

impl Turn {
    /// Waits until no earlier command is in the way.
    pub async fn come(&mut self) {
        if let Some(called) = &mut self.called {
            // The sender lives in the queue until it calls.
            let _called_or_gone = called.await;
            self.called = None;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = lock(&self.queue);
        queue.waiting.remove(&self.place);
        for place in queue.order.leave(self.place) {
            if let Some(call) = queue.waiting.remove(&place) {
                // Nobody listens any more: its own drop comes after this one.
                let _listening = call.send(());
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

    use serde_json::{Value, json};
    use trove_couchdb_protocol::trove::Command;

    use super::*;

    fn take(turns: &Turns) -> Turn {
        let Value::Object(args) = json!({"user": {"_name": "al"}}) else { unreachable!() };
        turns.take(Footprint::of(&Command::decode("delete_user", &args).unwrap()))
    }

    #[tokio::test]
    async fn a_turn_comes_when_the_earlier_one_is_dropped() {
        let turns = Turns::default();
        let mut first = take(&turns);
        let mut second = take(&turns);
        let given_up = take(&turns);
        let mut third = take(&turns);
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
}
