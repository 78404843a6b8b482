//! The way out that outlives connections: an answer waits for the next broker rather than being lost.
//!
//! With oslo's non-durable queues a restarted broker has forgotten the command that ran meanwhile and will not
//! deliver it again, but its caller re-declares the same reply queue and still waits, and a user still wants to
//! hear of a failed cast.

use std::{borrow::Cow, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, MutexGuard, OwnedSemaphorePermit, Semaphore, watch},
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, Span, debug, warn};

use super::{
    answer::{Destination, Publication},
    publish::{Handed, Offer, PublishError, Publisher},
    returned::{Returned, Since},
    waiting::{RETURNED_RETRY, Room, pause},
};

/// The broker has no room for a message just now.
const REFUSED_RETRY: Duration = Duration::from_secs(1);

/// The broker does not let the account write. Each attempt costs a channel, and one message tries for all.
const FORBIDDEN_RETRY: Duration = Duration::from_secs(1);

/// For so long a command is kept whose end the conductor can't be told yet, or whose answer the broker has refused: an
/// agent that ends meanwhile is given it again. A conductor declares its queue as soon as it has found the restarted
/// broker.
const KEPT: Duration = Duration::from_secs(10);

/// Commands that are kept so at the same time. They hold up what comes after them on the same user or database, and a place
/// of the prefetch; the ends of others wait in memory alone.
const KEPT_AT_ONCE: usize = 8;

const MIB: usize = 1024 * 1024;

/// Replies that wait for their queue at the same time, in bytes and in number; more are dropped.
const REPLIES_AT_ONCE: (usize, usize) = (32 * MIB, 256);

/// The same for what the conductor is told, whose places no caller can take.
const ENDS_AT_ONCE: (usize, usize) = (8 * MIB, 256);

/// A message of more bytes than that is large: it waits for its turn to be published.
const LARGE: usize = 64 * 1024;

/// Bytes of large messages on their way to the broker. Each is there thrice: as it was made, in lapin's frames, and as
/// the broker returns it.
const LARGE_AT_ONCE: usize = 16 * MIB;

/// How long the agent's end waits for what nobody waits for.
const FAREWELL: Duration = Duration::from_secs(2);

/// Publishes through whatever connection there is.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    publisher: watch::Receiver<Option<Publisher>>,
    kept: Arc<Semaphore>,
    replies: Room,
    ends: Room,
    /// In KiB.
    large: Arc<Semaphore>,
    /// Held by the one message that finds out whether the account may write again: each attempt costs the channel.
    forbidden: Arc<Mutex<()>>,
    /// How long a caller's queue may be missing.
    missing_consumer: Duration,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// A command that waits for its answer to be taken.
struct Kept {
    _place: OwnedSemaphorePermit,
    since: Instant,
}

/// Why a message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    NotTaken,
    Forbidden,
}

/// Why a message will not be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Undeliverable {
    #[error("the agent stops and there is no broker")]
    Stopping,
    #[error("its queue has a name that can't exist")]
    QueueName,
}

impl Outlet {
    /// An outlet that uses the newest publisher.
    pub(super) fn new(
        publisher: watch::Receiver<Option<Publisher>>,
        missing_consumer: Duration,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) -> Self {
        let [replies, ends] =
            [REPLIES_AT_ONCE, ENDS_AT_ONCE].map(|(bytes, messages)| Room::new(bytes, messages));
        let [kept, large] =
            [KEPT_AT_ONCE, LARGE_AT_ONCE / 1024].map(|places| Arc::new(Semaphore::new(places)));
        let forbidden = Arc::default();
        Self { publisher, kept, replies, ends, large, forbidden, missing_consumer, tasks, stopping }
    }

    /// Returns when a broker has confirmed the message, on this connection or on a later one. What is returned or refused
    /// is soon taken care of in the background: whoever made a queue that takes nothing must not hold a command up.
    pub(super) async fn publish(&self, publication: &Publication) -> Result<(), Undeliverable> {
        let mut kept = None;
        let mut publication = Cow::Borrowed(publication);
        loop {
            let publisher = self.usable().await?;
            match self.offer(&publisher, &publication, Offer::Mandatory).await {
                Ok(Handed::Taken) => return Ok(()),
                Ok(Handed::Returned) => {
                    if publication.to != Destination::Conductor || !self.is_kept(&mut kept) {
                        self.try_later(publication.into_owned(), Since::now(), Why::NotTaken);
                        return Ok(());
                    }
                    self.pause(RETURNED_RETRY).await?;
                }
                Ok(Handed::Refused) => {
                    warn!("The broker could not take a message; it is offered again.");
                    if !self.is_kept(&mut kept) {
                        self.try_later(publication.into_owned(), Since::now(), Why::NotTaken);
                        return Ok(());
                    }
                    self.pause(REFUSED_RETRY).await?;
                }
                Err(PublishError::QueueName) => return Err(Undeliverable::QueueName),
                Err(PublishError::TooLarge { limit }) => match too_large(&publication, limit) {
                    Some(smaller) => publication = Cow::Owned(smaller),
                    None => return Ok(()),
                },
                Err(PublishError::Forbidden(error)) => {
                    warn!(%error, "The broker does not let this account write; a message is offered again for a while.");
                    self.try_later(publication.into_owned(), Since::now(), Why::Forbidden);
                    return Ok(());
                }
                Err(error) => debug!(%error, "An answer waits for the next connection."),
            }
        }
    }

    /// Publishes one message once. Another one that came back meanwhile is tried again later.
    async fn offer(
        &self,
        publisher: &Publisher,
        publication: &Publication,
        offer: Offer,
    ) -> Result<Handed, PublishError> {
        let bytes = publication.body.len();
        let _turn = if bytes > LARGE {
            let kib = u32::try_from(bytes.min(LARGE_AT_ONCE) / 1024).unwrap_or(u32::MAX);
            Arc::clone(&self.large).acquire_many_owned(kib).await.ok()
        } else {
            None
        };
        let confirmed = publisher.publish(publication, offer).await?;
        if let Some(Returned { message, since }) = confirmed.another {
            self.try_later(message, since, Why::NotTaken);
        }
        Ok(confirmed.handed)
    }

    /// Whether the command may wait for its answer to be taken.
    fn is_kept(&self, kept: &mut Option<Kept>) -> bool {
        if let Some(kept) = kept {
            return kept.since.elapsed() < KEPT;
        }
        let place = Arc::clone(&self.kept).try_acquire_owned().ok();
        *kept = place.map(|place| Kept { _place: place, since: Instant::now() });
        kept.is_some()
    }

    async fn pause(&self, time: Duration) -> Result<(), Undeliverable> {
        tokio::select! {
            () = time::sleep(time) => Ok(()),
            () = self.stopping.cancelled() => Err(Undeliverable::Stopping),
        }
    }

    /// Publishes once, if there is a connection; whether the broker has taken it.
    ///
    /// In a task of its own, as the confirmation may bear the reply to somebody else: it must be heard although the
    /// command ends that this is a sign of life of, or the session.
    pub(super) async fn mention(&self, publication: &Publication) -> bool {
        let (outlet, publication) = (self.clone(), publication.clone());
        let mention = async move {
            let publisher = outlet.publisher.borrow().clone();
            let Some(publisher) = publisher else { return false };
            let last_wait = async {
                outlet.stopping.cancelled().await;
                time::sleep(FAREWELL).await;
            };
            tokio::select! {
                handed = outlet.offer(&publisher, &publication, Offer::Once) => match handed {
                    Ok(handed) => handed == Handed::Taken,
                    Err(error) => {
                        debug!(%error, "A message did not get through.");
                        false
                    }
                },
                () = last_wait => false,
            }
        };
        self.tasks.spawn(mention.instrument(Span::current())).await.unwrap_or(false)
    }

    /// Returns when there is no connection; an outlet without a transport has none either.
    pub(super) async fn lost(&self) {
        let mut publisher = self.publisher.clone();
        if publisher.wait_for(Option::is_none).await.is_err() {
            debug!("The transport is gone.");
        }
    }

    async fn usable(&self) -> Result<Publisher, Undeliverable> {
        let mut publisher = self.publisher.clone();
        let usable = |publisher: &Option<Publisher>| publisher.as_ref().is_some_and(Publisher::is_usable);
        let found = tokio::select! {
            biased;
            found = publisher.wait_for(usable) => found.ok().and_then(|found| found.clone()),
            () = self.stopping.cancelled() => None,
        };
        found.ok_or(Undeliverable::Stopping)
    }

    /// Takes care of a message whose queue isn't there, in the background: the command has run and may be
    /// acknowledged, and its caller, or the conductor after a broker's restart, may only be about to come back.
    fn try_later(&self, message: Publication, since: Since, why: Why) {
        let room = match message.to {
            Destination::Reply(_) => &self.replies,
            Destination::Conductor => &self.ends,
        };
        let Some(place) = room.take(message.body.len()) else {
            warn!("A message has no queue, and too many others wait for theirs; it is dropped.");
            return;
        };
        let outlet = self.clone();
        let trying = async move {
            let _place = place;
            outlet.until_taken(message, since, why).await;
        };
        self.tasks.spawn(trying.instrument(Span::current()));
    }

    async fn until_taken(&self, mut message: Publication, since: Since, mut why: Why) {
        let mut last_try = false;
        while !last_try && since.elapsed() < self.missing_consumer {
            let left = self.missing_consumer.saturating_sub(since.elapsed());
            last_try = self.pause(pause(message.body.len(), since.elapsed()).min(left)).await.is_err();
            let turn = match why {
                Why::NotTaken => None,
                Why::Forbidden => match self.turn_to_write(left).await {
                    Some(turn) => Some(turn),
                    None => break,
                },
            };
            let publisher = self.publisher.borrow().clone();
            let Some(publisher) = publisher.filter(Publisher::is_usable) else { continue };
            match self.offer(&publisher, &message, Offer::Again(since)).await {
                Ok(Handed::Taken) => return,
                Ok(Handed::Returned | Handed::Refused) => why = Why::NotTaken,
                Err(PublishError::TooLarge { limit }) => match too_large(&message, limit) {
                    Some(smaller) => message = smaller,
                    None => return,
                },
                Err(PublishError::Forbidden(_)) => {
                    why = Why::Forbidden;
                    if turn.is_some() {
                        last_try |= self.pause(FORBIDDEN_RETRY).await.is_err();
                    }
                }
                Err(error) => debug!(%error, "A message still waits."),
            }
        }
        match why {
            Why::NotTaken => warn!(to = ?message.to, "A queue is gone for good; a message to it is dropped."),
            Why::Forbidden => {
                warn!(to = ?message.to, "The broker still lets this account not write; a message is dropped.");
            }
        }
    }

    async fn turn_to_write(&self, limit: Duration) -> Option<MutexGuard<'_, ()>> {
        tokio::select! {
            turn = self.forbidden.lock() => Some(turn),
            () = time::sleep(limit) => None,
            () = self.stopping.cancelled() => None,
        }
    }
}

/// What is said in place of a message that the broker finds too large, if anything can be.
fn too_large(publication: &Publication, limit: usize) -> Option<Publication> {
    let bytes = publication.body.len();
    let smaller = publication.smaller();
    if smaller.is_some() {
        warn!(bytes, limit, "The broker takes no answer as large as this; its caller is told so.");
    } else {
        warn!(bytes, limit, "The broker takes no message as large as this; it is dropped.");
    }
    smaller
}
