//! Decides what is published, in which order, and what happens to each message. No I/O.
//!
//! ```text
//! from a command ──► ready ──► in flight ──► accepted: the command may be acknowledged
//!                       ▲          │ returned, refused, forbidden
//!                       │          ├──► held: its command waits too (few, for seconds)
//!                       └──────────┴──► in the background until `retry_timeout`, in a budget; then dropped
//! ```
//! A message that was in flight when its channel closed is a suspect (`closure`): it is published alone.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{Span, debug, warn};

use super::{
    budget::{Budget, RETURNED_RETRY, pause},
    channel::{Handed, PublishError},
    closure::{Closure, Guilt, Trial},
    message::{Attempt, Id, LARGE_AT_ONCE, Message, Outcome, Waiter},
    returned::{Returned, Since},
};
use crate::{
    metrics::Metrics,
    transport::rpc::{Destination, Publication, Undeliverable},
};

/// The delay after the broker could not store a message.
const REFUSED_RETRY: Duration = Duration::from_secs(1);

/// The delay after a write that was not allowed. Each attempt costs a channel, so one message tries for all.
const FORBIDDEN_RETRY: Duration = Duration::from_secs(1);

/// How long a command is held while the conductor's queue is missing or the broker refuses the message. If
/// the agent stops meanwhile, the command is redelivered. A conductor declares its queue as soon as it has
/// reconnected to the restarted broker.
const HELD: Duration = Duration::from_secs(10);

/// How many commands are held at the same time. They block later commands on the same user or database and
/// occupy a prefetch slot. The messages of further commands wait in memory only.
const HELD_AT_ONCE: usize = 8;

const MIB: usize = 1024 * 1024;

/// The limits for replies that wait in the background, in bytes and in number; more are dropped.
const REPLIES_AT_ONCE: (usize, usize) = (32 * MIB, 256);

/// The limits for messages to the conductor. Callers cannot use up this budget.
const ENDS_AT_ONCE: (usize, usize) = (8 * MIB, 256);

/// All messages that are not at the broker yet.
#[derive(Debug)]
pub(super) struct Queue {
    messages: BTreeMap<Id, Message>,
    last: Id,
    under_way: usize,
    /// A suspect is in flight, alone.
    alone: bool,
    /// Bytes of large messages in flight.
    large: usize,
    held: usize,
    /// When a write that was not allowed is tried again.
    write_again: Option<Instant>,
    replies: Budget,
    ends: Budget,
    /// How long a caller's queue may be missing.
    retry_timeout: Duration,
    stopping: bool,
    metrics: Metrics,
    tasks: TaskTracker,
}

impl Queue {
    /// Messages in the background are counted in `tasks`, so that the agent waits for their last attempt.
    pub(super) fn new(retry_timeout: Duration, metrics: Metrics, tasks: TaskTracker) -> Self {
        let [replies, ends] =
            [REPLIES_AT_ONCE, ENDS_AT_ONCE].map(|(bytes, messages)| Budget::new(bytes, messages));
        Self {
            messages: BTreeMap::new(),
            last: 0,
            under_way: 0,
            alone: false,
            large: 0,
            held: 0,
            write_again: None,
            replies,
            ends,
            retry_timeout,
            stopping: false,
            metrics,
            tasks,
        }
    }

    /// Adds a message. A [`Waiter::Once`] needs a channel right now.
    pub(super) fn push(&mut self, publication: Publication, waiter: Waiter, span: Span) {
        let id = self.new_id();
        self.messages.insert(id, Message::new(publication, waiter, span));
    }

    fn new_id(&mut self) -> Id {
        self.last += 1;
        self.last
    }

    /// There is no channel: gives up the messages that cannot wait for the next one.
    pub(super) fn no_channel(&mut self) {
        let (stopping, retry_timeout) = (self.stopping, self.retry_timeout);
        for message in self.take_where(|message| match message.waiter {
            Waiter::Once(_) => true,
            Waiter::Command { .. } => stopping,
            Waiter::Nobody { since, .. } => stopping || since.elapsed() >= retry_timeout,
        }) {
            self.tell(message.waiter, Err(Undeliverable::Stopping));
        }
    }

    /// The agent stops: messages in the background get one more attempt, and no command is held any longer.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        for message in
            self.take_where(|message| matches!(message.waiter, Waiter::Command { held: Some(_), .. }))
        {
            self.tell(message.waiter, Err(Undeliverable::Stopping));
        }
        for message in self.messages.values_mut() {
            (message.due, message.forbidden) = (None, false);
        }
    }

    /// Removes the matching messages that are not in flight.
    fn take_where(&mut self, condition: impl Fn(&Message) -> bool) -> Vec<Message> {
        let fits = self.messages.iter().filter(|(_, message)| !message.under_way && condition(message));
        let ids: Vec<Id> = fits.map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| self.messages.remove(id)).collect()
    }

    /// The next message that may be published now, if any.
    pub(super) fn next(&mut self, now: Instant) -> Option<Attempt> {
        if self.alone {
            return None;
        }
        let may_write = self.write_again.is_none_or(|again| again <= now);
        let room = LARGE_AT_ONCE - self.large.min(LARGE_AT_ONCE);
        let ready = |message: &Message| {
            !message.under_way
                && message.due.is_none_or(|due| due <= now)
                && (may_write || !message.forbidden)
                && message.large_bytes() <= room
        };
        let mut ready = self.messages.iter_mut().filter(|(_, message)| ready(message));
        let (mut id, mut message) = ready.next()?;
        if !message.trial.is_suspect()
            && let Some(suspect) = ready.find(|(_, message)| message.trial.is_suspect())
        {
            (id, message) = suspect;
        }
        if message.trial.is_suspect() {
            if self.under_way > 0 {
                return None;
            }
            self.alone = true;
        }
        message.under_way = true;
        self.under_way += 1;
        self.large += message.large_bytes();
        Some(message.attempt(*id))
    }

    /// When `next` may return a message that it does not return now, if nothing happens earlier.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let waiting = self.messages.values().filter(|message| !message.under_way);
        let due =
            waiting.filter_map(|message| message.due.max(self.write_again.filter(|_| message.forbidden)));
        due.filter(|due| *due > now).min()
    }

    /// An attempt has ended.
    pub(super) fn ended(&mut self, id: Id, outcome: Outcome, now: Instant) {
        let Some(mut message) = self.messages.remove(&id) else { return };
        self.under_way -= 1;
        self.alone = false;
        self.large -= message.large_bytes();
        message.under_way = false;
        let span = message.span.clone();
        span.in_scope(|| self.decide(id, message, outcome, now));
    }

    /// A message that counted as delivered was returned with the confirmation of a different message.
    pub(super) fn came_back(&mut self, returned: Returned, now: Instant) {
        let Returned { message: publication, since } = returned;
        if let Some(waiter) = self.background(&publication, since) {
            let id = self.new_id();
            self.wait(id, Message::new(publication, waiter, Span::current()), since, now);
        }
    }

    fn decide(&mut self, id: Id, mut message: Message, outcome: Outcome, now: Instant) {
        let once = matches!(message.waiter, Waiter::Once(_));
        match outcome {
            Outcome::Handed(Handed::Taken) => {
                if message.forbidden {
                    self.write_again = None;
                }
                self.tell(message.waiter, Ok(()));
            }
            Outcome::Abandoned => self.tell(message.waiter, Err(Undeliverable::Stopping)),
            Outcome::Failed(PublishError::QueueName) => {
                self.tell(message.waiter, Err(Undeliverable::QueueName));
            }
            _ if once => {
                debug!(?outcome, "A message did not get through.");
                self.tell(message.waiter, Err(Undeliverable::Stopping));
            }
            Outcome::Handed(handed) => {
                message.forbidden = false;
                self.not_taken(id, message, handed, now);
            }
            Outcome::Failed(error) => {
                let closure = match &error {
                    PublishError::Closed { under_way, .. } => *under_way,
                    // The channel is not used any more.
                    _ => Some(Closure::Outage),
                };
                match closure.and_then(|closure| message.trial.assess(closure)) {
                    None => {
                        debug!(%error, "A message waits for the next channel.");
                        self.messages.insert(id, message);
                    }
                    Some(guilt) => self.guilty(id, message, guilt, &error, now),
                }
            }
        }
    }

    /// The broker works, but did not accept the message.
    fn not_taken(&mut self, id: Id, mut message: Message, handed: Handed, now: Instant) {
        let pause = match handed {
            Handed::Refused => {
                warn!("The broker could not take a message; it is offered again.");
                REFUSED_RETRY
            }
            _ => RETURNED_RETRY,
        };
        let may_hold = message.publication.to == Destination::Conductor || handed == Handed::Refused;
        if let Waiter::Command { held, .. } = &mut message.waiter
            && held.map_or(may_hold && self.held < HELD_AT_ONCE, |since| now < since + HELD)
        {
            if self.stopping {
                return self.tell(message.waiter, Err(Undeliverable::Stopping));
            }
            if held.replace(held.unwrap_or(now)).is_none() {
                self.held += 1;
            }
            message.due = Some(now + pause);
            self.messages.insert(id, message);
        } else {
            self.later(id, message, now);
        }
    }

    /// The channel closes whenever this message is published.
    fn guilty(&mut self, id: Id, mut message: Message, guilt: Guilt, error: &PublishError, now: Instant) {
        let bytes = message.publication.body.len();
        match (guilt, message.publication.smaller()) {
            (Guilt::Forbidden, _) => {
                if !message.forbidden {
                    warn!(%error, "The broker does not let this account write; a message is offered again for a while.");
                }
                (message.forbidden, self.write_again) = (true, Some(now + FORBIDDEN_RETRY));
                self.later(id, message, now);
            }
            (Guilt::Precondition, Some(smaller)) => {
                warn!(%error, bytes, "The broker refuses an answer of this size; its caller gets an error instead.");
                (message.publication, message.trial) = (smaller, Trial::default());
                self.messages.insert(id, message);
            }
            (guilt, _) => {
                self.metrics.answer_dropped();
                let to = &message.publication.to;
                if guilt == Guilt::Precondition {
                    warn!(?to, bytes, %error, "The broker refuses a message, also alone, as too large perhaps; it is dropped.");
                } else {
                    warn!(?to, bytes, %error, "The connection ended over a message, and again when it went out alone; it is dropped.");
                }
                self.tell(message.waiter, Ok(()));
            }
        }
    }

    /// Moves a message to the background, so that its command no longer waits.
    fn later(&mut self, id: Id, mut message: Message, now: Instant) {
        let since = if let Waiter::Nobody { since, .. } = message.waiter {
            since
        } else {
            let since = Since::now();
            let Some(waiter) = self.background(&message.publication, since) else {
                return self.tell(message.waiter, Ok(()));
            };
            let waiter = std::mem::replace(&mut message.waiter, waiter);
            self.tell(waiter, Ok(()));
            since
        };
        self.wait(id, message, since, now);
    }

    /// Schedules the next attempt of a message in the background, unless it has had its last.
    fn wait(&mut self, id: Id, mut message: Message, since: Since, now: Instant) {
        let left = self.retry_timeout.saturating_sub(since.elapsed());
        if !left.is_zero() && !self.stopping {
            message.due = Some(now + pause(message.publication.body.len(), since.elapsed()).min(left));
            self.messages.insert(id, message);
            return;
        }
        let to = &message.publication.to;
        if message.forbidden {
            warn!(?to, "The broker still lets this account not write; a message is dropped.");
        } else {
            warn!(?to, "A queue is gone for good; a message to it is dropped.");
        }
    }

    /// Reserves space in the background, if there is any.
    fn background(&self, publication: &Publication, since: Since) -> Option<Waiter> {
        let budget = match publication.to {
            Destination::Reply(_) => &self.replies,
            Destination::Conductor => &self.ends,
        };
        let places = budget.take(publication.body.len());
        if places.is_none() {
            warn!("A message has no queue, and too many others wait for theirs; it is dropped.");
        }
        Some(Waiter::Nobody { since, _places: places?, _tracked: self.tasks.token() })
    }

    /// The receiver may be gone.
    fn tell(&mut self, waiter: Waiter, result: Result<(), Undeliverable>) {
        match waiter {
            Waiter::Once(taken) => drop(taken.send(result.is_ok())),
            Waiter::Command { done, held } => {
                self.held -= usize::from(held.is_some());
                let _gone = done.send(result);
            }
            Waiter::Nobody { .. } => {}
        }
    }
}
