#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    time::Instant,
};
use tokio_util::task::TaskTracker;
use tracing::Span;
use trove_couchdb_protocol::ReplyQueue;

use super::{
    channel::{Handed, PublishError},
    closure::Closure,
    message::{Attempt, Outcome, Waiter},
    queue::Queue,
};
use crate::{
    metrics::Metrics,
    transport::rpc::{Destination, Publication, Undeliverable},
};

const MINUTE: Duration = Duration::from_secs(60);

type Result = oneshot::Receiver<std::result::Result<(), Undeliverable>>;

fn queue() -> Queue {
    Queue::new(MINUTE, Metrics::default(), TaskTracker::new())
}

fn reply(bytes: usize) -> Publication {
    Publication::new(Destination::Reply(ReplyQueue::new("reply_1").unwrap()), vec![b'x'; bytes])
}

fn push(queue: &mut Queue, publication: Publication) -> Result {
    let (done, result) = oneshot::channel();
    queue.push(publication, Waiter::Command { done, held: None }, Span::none());
    result
}

fn begin(queue: &mut Queue, now: Instant) -> Vec<Attempt> {
    std::iter::from_fn(|| queue.next(now)).collect()
}

fn closed(closure: Closure) -> Outcome {
    let error = std::io::Error::other("made up").into();
    Outcome::Failed(PublishError::Closed { error, under_way: Some(closure) })
}

#[test]
fn of_those_that_a_channel_ended_for_each_goes_out_alone_and_only_the_guilty_is_dropped() {
    let (mut queue, now) = (queue(), Instant::now());
    let mut results: Vec<_> = (1..=3).map(|bytes| push(&mut queue, reply(bytes))).collect();
    for attempt in begin(&mut queue, now) {
        queue.ended(attempt.id, closed(Closure::Connection(541)), now);
    }
    let mut innocent = push(&mut queue, reply(9));
    for _ in 0..3 {
        let attempts = begin(&mut queue, now);
        assert_eq!(attempts.len(), 1, "a suspect goes out alone");
        let guilty = attempts[0].publication.body.len() == 2;
        let outcome = if guilty { closed(Closure::Connection(541)) } else { Outcome::Handed(Handed::Taken) };
        queue.ended(attempts[0].id, outcome, now);
    }
    assert!(results.iter_mut().all(|result| result.try_recv() == Ok(Ok(()))));
    let attempts = begin(&mut queue, now);
    assert_eq!(attempts.len(), 1, "the guilty one does not come again");
    queue.ended(attempts[0].id, Outcome::Handed(Handed::Taken), now);
    assert_eq!(innocent.try_recv(), Ok(Ok(())));
}

#[test]
fn an_answer_that_is_too_large_is_said_shorter() {
    let (mut queue, now) = (queue(), Instant::now());
    let publication = Publication { otherwise: Some(vec![b's'; 7].into()), ..reply(100) };
    let mut result = push(&mut queue, publication);
    for _ in 0..2 {
        let attempts = begin(&mut queue, now);
        assert_eq!(attempts[0].publication.body.len(), 100);
        queue.ended(attempts[0].id, closed(Closure::Channel(406)), now);
    }
    let attempts = begin(&mut queue, now);
    assert_eq!(attempts[0].publication.body.len(), 7);
    queue.ended(attempts[0].id, Outcome::Handed(Handed::Taken), now);
    assert_eq!(result.try_recv(), Ok(Ok(())));
}

#[test]
fn where_writing_is_forbidden_one_message_tries_for_all() {
    let (mut queue, mut now) = (queue(), Instant::now());
    let mut results: Vec<_> = (0..3).map(|_| push(&mut queue, reply(1))).collect();
    let forbidden = |queue: &mut Queue, now| {
        let attempts = begin(queue, now);
        let count = attempts.len();
        for attempt in attempts {
            queue.ended(attempt.id, closed(Closure::Channel(403)), now);
        }
        count
    };
    let counts: Vec<_> = (0..5).map(|_| forbidden(&mut queue, now)).collect();
    assert_eq!(counts, [3, 1, 1, 1, 0], "each is found guilty alone, and waits");
    assert!(results.iter_mut().all(|result| result.try_recv() == Ok(Ok(()))));
    for _ in 0..3 {
        now += Duration::from_secs(1);
        assert_eq!((forbidden(&mut queue, now), forbidden(&mut queue, now)), (1, 0));
    }
    now += Duration::from_secs(1);
    for _ in 0..3 {
        let attempt = queue.next(now).unwrap();
        queue.ended(attempt.id, Outcome::Handed(Handed::Taken), now);
    }
    assert!(queue.next(now + MINUTE).is_none(), "all are taken once one of them was");
}

#[test]
fn a_command_is_held_for_the_conductor_only_and_few_are() {
    let (mut queue, now) = (queue(), Instant::now());
    let returned = |queue: &mut Queue, now| {
        for attempt in begin(queue, now) {
            queue.ended(attempt.id, Outcome::Handed(Handed::Returned), now);
        }
    };
    let mut of_caller = push(&mut queue, reply(1));
    returned(&mut queue, now);
    assert_eq!(of_caller.try_recv(), Ok(Ok(())), "it waits in the background");
    let mut ends: Vec<_> =
        (0..10).map(|_| push(&mut queue, Publication::new(Destination::Conductor, vec![b'x']))).collect();
    returned(&mut queue, now);
    let held = |ends: &mut Vec<Result>| {
        ends.retain_mut(|end| end.try_recv() == Err(TryRecvError::Empty));
        ends.len()
    };
    assert_eq!(held(&mut ends), 8);
    returned(&mut queue, now + Duration::from_secs(5));
    assert_eq!(held(&mut ends), 8);
    let mut last = ends.pop().unwrap();
    returned(&mut queue, now + Duration::from_secs(11));
    assert_eq!(last.try_recv(), Ok(Ok(())), "it has been held long enough");
}

#[test]
fn at_the_end_a_held_command_is_not_acknowledged_and_the_background_has_a_last_attempt() {
    let (mut queue, now) = (queue(), Instant::now());
    let mut end = push(&mut queue, Publication::new(Destination::Conductor, vec![b'x']));
    let _of_caller = push(&mut queue, reply(1));
    for attempt in begin(&mut queue, now) {
        queue.ended(attempt.id, Outcome::Handed(Handed::Returned), now);
    }
    queue.stop();
    assert_eq!(end.try_recv(), Ok(Err(Undeliverable::Stopping)));
    let attempts = begin(&mut queue, now);
    assert_eq!(attempts.len(), 1);
    queue.ended(attempts[0].id, Outcome::Handed(Handed::Returned), now);
    assert!(begin(&mut queue, now + MINUTE).is_empty(), "that was the last");
}

#[test]
fn without_a_channel_a_sign_of_life_ends_and_an_answer_waits() {
    let (mut queue, now) = (queue(), Instant::now());
    let (taken, mut once) = oneshot::channel();
    queue.push(reply(1), Waiter::Once(taken), Span::none());
    let mut answer = push(&mut queue, reply(2));
    queue.no_channel();
    assert_eq!((once.try_recv(), answer.try_recv()), (Ok(false), Err(TryRecvError::Empty)));
    assert_eq!(begin(&mut queue, now).len(), 1);
    let mut late = push(&mut queue, reply(3));
    queue.stop();
    queue.no_channel();
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty), "it is under way");
    assert_eq!(late.try_recv(), Ok(Err(Undeliverable::Stopping)));
}

#[test]
fn a_large_message_waits_for_its_share_and_holds_no_small_one_up() {
    let (mut queue, now) = (queue(), Instant::now());
    let _results: Vec<_> = (0..5).map(|_| push(&mut queue, reply(5 << 20))).collect();
    let _small = push(&mut queue, reply(1));
    let attempts = begin(&mut queue, now);
    assert_eq!(attempts.len(), 4, "three of 5 MiB fit into 16, and the small one");
    queue.ended(attempts[0].id, Outcome::Handed(Handed::Taken), now);
    assert_eq!(begin(&mut queue, now).len(), 1);
}

/// A timer in the past that starts nothing would fire again at once.
#[test]
fn there_is_never_a_timer_for_the_past() {
    let (mut queue, now) = (queue(), Instant::now());
    let _answers: Vec<_> = (0..2).map(|_| push(&mut queue, reply(1))).collect();
    for attempt in begin(&mut queue, now) {
        queue.ended(attempt.id, Outcome::Handed(Handed::Returned), now);
    }
    let due = queue.next_due(now).unwrap();
    assert!(due > now);
    let attempt = queue.next(due).unwrap();
    queue.ended(attempt.id, closed(Closure::Outage), due);
    assert_eq!(queue.next_due(due).into_iter().filter(|next| *next <= due).count(), 0);
}
