//! The way out that outlives connections: an answer waits for the next broker rather than being lost.
//!
//! With oslo's non-durable queues a restarted broker has forgotten the command that ran meanwhile and will not
//! deliver it again, but its caller re-declares the same reply queue and still waits, and a user still wants to
//! hear of a failed cast.

mod later;

use std::{borrow::Cow, sync::Arc, time::Duration};

use futures_util::future::Either;
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, watch},
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, Span, debug, warn};

use super::{
    answer::{Destination, Publication},
    publish::{Handed, Offer, PublishError, Publisher},
    reminder,
    returned::{Returned, Since},
    trial::Trial,
    waiting::{RETURNED_RETRY, Room},
};
use crate::metrics::Metrics;

/// The broker has no room for a message just now.
const REFUSED_RETRY: Duration = Duration::from_secs(1);

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
    /// Shared by messages on their way to the broker; a suspect has it alone.
    way: Arc<RwLock<()>>,
    /// Held by the one message that finds out whether the account may write again: each attempt costs the channel.
    forbidden: Arc<Mutex<()>>,
    /// How long a caller's queue may be missing.
    missing_consumer: Duration,
    metrics: Metrics,
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
        metrics: Metrics,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) -> Self {
        let [replies, ends] =
            [REPLIES_AT_ONCE, ENDS_AT_ONCE].map(|(bytes, messages)| Room::new(bytes, messages));
        let [kept, large] =
            [KEPT_AT_ONCE, LARGE_AT_ONCE / 1024].map(|places| Arc::new(Semaphore::new(places)));
        let (way, forbidden) = (Arc::default(), Arc::default());
        Self {
            publisher,
            kept,
            replies,
            ends,
            large,
            way,
            forbidden,
            missing_consumer,
            metrics,
            tasks,
            stopping,
        }
    }

    /// Returns when a broker has confirmed the message, on this connection or on a later one. What is returned or refused
    /// is soon taken care of in the background: whoever made a queue that takes nothing must not hold a command up.
    pub(super) async fn publish(&self, publication: &Publication) -> Result<(), Undeliverable> {
        let mut kept = None;
        let mut publication = Cow::Borrowed(publication);
        let mut trial = Trial::default();
        loop {
            let offered = {
                let _way = self.way(&trial).await;
                let publisher = self.usable().await?;
                tokio::select! {
                    offered = self.offer(&publisher, &publication, Offer::Mandatory) => offered,
                    () = self.stopping_while_blocked() => return Err(Undeliverable::Stopping),
                }
            };
            match offered {
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
                Err(error) if trial.finds_guilty(&error) => {
                    self.dropped(&publication, &error);
                    return Ok(());
                }
                Err(error) => debug!(%error, "An answer waits for the next connection."),
            }
        }
    }

    /// Publishes what comes after a message, in the background and at its times.
    pub(super) fn publish_later(&self, publication: &Publication) {
        if publication.later.is_empty() {
            return;
        }
        let outlet = self.clone();
        let publish = move |message: Publication| {
            let outlet = outlet.clone();
            async move {
                debug!("Telling it again: Trove may have written its own words over the reason.");
                if let Err(reason) = outlet.publish(&message).await {
                    debug!(%reason, "A failure could not be told again.");
                }
            }
        };
        let (messages, stopping) = (publication.later.clone(), self.stopping.clone());
        let reminding = reminder::remind(messages, &reminder::AFTER, stopping, publish);
        self.tasks.spawn(reminding.instrument(Span::current()));
    }

    /// Held while a message is on its way to the broker; a suspect's excludes all others.
    async fn way(&self, trial: &Trial) -> Either<RwLockWriteGuard<'_, ()>, RwLockReadGuard<'_, ()>> {
        if trial.is_suspect() {
            Either::Left(self.way.write().await)
        } else {
            Either::Right(self.way.read().await)
        }
    }

    /// Returns when the agent stops although the broker takes nothing: what waits for it comes again.
    pub(super) async fn stopping_while_blocked(&self) {
        self.stopping.cancelled().await;
        loop {
            time::sleep(FAREWELL).await;
            if self.publisher.borrow().as_ref().is_some_and(Publisher::is_blocked) {
                return;
            }
        }
    }

    /// The broker ends the connection rather than take this message.
    fn dropped(&self, publication: &Publication, error: &PublishError) {
        self.metrics.answer_dropped();
        let to = &publication.to;
        warn!(?to, %error, "The connection ended over a message, and again when it went out alone; it is dropped.");
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
            let _way = outlet.way(&Trial::default()).await;
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
