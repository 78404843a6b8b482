//! Messages that their queue, or the broker, did not take: offered again in the background.

use std::time::Duration;

use tokio::{sync::MutexGuard, time};
use tracing::{Instrument, Span, debug, warn};

use super::{
    super::{
        answer::{Destination, Publication},
        publish::{Handed, Offer, PublishError, Publisher},
        returned::Since,
        trial::Trial,
        waiting::pause,
    },
    Outlet, Why, too_large,
};

/// The broker does not let the account write. Each attempt costs a channel, and one message tries for all.
const FORBIDDEN_RETRY: Duration = Duration::from_secs(1);

impl Outlet {
    /// Takes care of a message whose queue isn't there, in the background: the command has run and may be
    /// acknowledged, and its caller, or the conductor after a broker's restart, may only be about to come back.
    pub(super) fn try_later(&self, message: Publication, since: Since, why: Why) {
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
        let (mut last_try, mut trial) = (false, Trial::default());
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
            let offered = {
                let _way = self.way(&trial).await;
                let publisher = self.publisher.borrow().clone();
                let Some(publisher) = publisher.filter(Publisher::is_usable) else { continue };
                tokio::select! {
                    offered = self.offer(&publisher, &message, Offer::Again(since)) => offered,
                    () = self.stopping_while_blocked() => return,
                }
            };
            match offered {
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
                Err(error) if trial.finds_guilty(&error) => {
                    self.dropped(&message, &error);
                    return;
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
