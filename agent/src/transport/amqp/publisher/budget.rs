//! A budget for messages that wait for their queue, and how often they are offered meanwhile.
//!
//! Anybody on the bus may ask for large answers to a queue that doesn't exist. What they cost is bounded: the memory,
//! and what is sent again and again.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a message holds of its budget, as long as it waits.
pub(super) type Places = OwnedSemaphorePermit;

/// oslo.messaging tries again at this interval to reach a caller's queue that isn't there
/// (`_drivers/amqpdriver.py`, `_send_reply`).
pub(super) const RETURNED_RETRY: Duration = Duration::from_millis(250);

/// So many bytes may be sent at that interval; a larger message is offered as much more rarely.
const SENT_AT_ONCE: usize = 64 * 1024;

/// The longest interval that size alone makes: a caller may still be there when its queue is.
const LONGEST_FOR_SIZE: Duration = Duration::from_secs(5);

/// After so long the intervals grow with the time that was waited: one part of so many. A queue that comes back does
/// it soon.
const PART_OF_THE_WAIT: u32 = 8;

/// How long a message of so many bytes is left alone that has been waiting for so long.
pub(super) fn pause(bytes: usize, waited: Duration) -> Duration {
    let pieces = u32::try_from(bytes.div_ceil(SENT_AT_ONCE)).unwrap_or(u32::MAX).max(1);
    RETURNED_RETRY.saturating_mul(pieces).min(LONGEST_FOR_SIZE).max(waited / PART_OF_THE_WAIT)
}

/// Places for messages, each of so many bytes. A message takes as many as it fills, so both the bytes and the number
/// of messages are bounded.
///
/// When none is left the newest message is dropped, not the oldest: those that wait already were let in for a minute,
/// and whoever floods the bus must not push them out. A small one often finds a place where a large one does not.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    places: Arc<Semaphore>,
    bytes_each: usize,
}

impl Budget {
    /// For so many bytes in all, in so many messages at most.
    pub(super) fn new(bytes: usize, messages: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(messages)), bytes_each: bytes / messages }
    }

    /// Held as long as the message is.
    pub(super) fn take(&self, bytes: usize) -> Option<Places> {
        let places = u32::try_from(bytes.div_ceil(self.bytes_each).max(1)).ok()?;
        Arc::clone(&self.places).try_acquire_many_owned(places).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Fails when messages are counted and their bytes are not, or the other way round.
    #[test]
    fn a_budget_is_spent_by_bytes_and_by_number() {
        let budget = Budget::new(32 * MIB, 256);
        let mut held: Vec<_> = (0..4).map(|_| budget.take(8 * MIB)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(budget.take(0).is_none(), "32 MiB wait");
        held.pop();
        assert!(budget.take(8 * MIB + 1).is_none());
        let small: Vec<_> = (0..64).map(|_| budget.take(10)).collect();
        assert!(small.iter().all(Option::is_some));
        assert!(budget.take(10).is_none(), "a small one has a whole place");
        drop((held, small));
        let small: Vec<_> = (0..256).map(|_| budget.take(10)).collect();
        assert!(small.iter().all(Option::is_some) && budget.take(10).is_none());
    }

    #[test]
    fn what_is_large_or_has_waited_long_is_offered_rarely() {
        let new = Duration::ZERO;
        assert_eq!(pause(0, new), RETURNED_RETRY);
        assert_eq!(pause(64 * 1024, new), RETURNED_RETRY);
        assert_eq!(pause(128 * 1024, new), 2 * RETURNED_RETRY);
        assert_eq!(pause(8 * MIB, new), Duration::from_secs(5));
        assert_eq!(pause(10, Duration::from_secs(2)), RETURNED_RETRY);
        assert_eq!(pause(10, Duration::from_secs(40)), Duration::from_secs(5));
    }
}
