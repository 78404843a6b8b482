//! A budget for messages that wait for their queue, and how often they are published again.
//!
//! Any account of the broker can request large replies to a queue that does not exist. The budget limits the
//! memory and the traffic that this costs.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The part of the budget that a waiting message holds.
pub(super) type Places = OwnedSemaphorePermit;

/// The interval at which oslo.messaging retries a reply to a missing queue (`_drivers/amqpdriver.py`,
/// `_send_reply`).
pub(super) const RETURNED_RETRY: Duration = Duration::from_millis(250);

/// How many bytes may be sent per interval; a larger message waits proportionally longer.
const SENT_AT_ONCE: usize = 64 * 1024;

/// The longest interval based on size alone: when the queue appears, its caller may still be waiting.
const LONGEST_FOR_SIZE: Duration = Duration::from_secs(5);

/// The interval is at least the time waited so far divided by this. A queue that comes back usually does so
/// soon.
const PART_OF_THE_WAIT: u32 = 8;

/// The interval until the next attempt for a message of this size that has waited this long.
pub(super) fn pause(bytes: usize, waited: Duration) -> Duration {
    let pieces = u32::try_from(bytes.div_ceil(SENT_AT_ONCE)).unwrap_or(u32::MAX).max(1);
    RETURNED_RETRY.saturating_mul(pieces).min(LONGEST_FOR_SIZE).max(waited / PART_OF_THE_WAIT)
}

/// A fixed number of slots of equal size. A message takes as many slots as it fills, so both the bytes and
/// the number of messages are limited.
///
/// When no slot is left, the newest message is dropped, not the oldest: a flood of messages must not push out
/// those that already wait. A small message often fits where a large one does not.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    places: Arc<Semaphore>,
    bytes_each: usize,
}

impl Budget {
    /// A budget of `bytes` in total and at most `messages` messages.
    pub(super) fn new(bytes: usize, messages: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(messages)), bytes_each: bytes / messages }
    }

    /// Reserves slots for a message, or returns `None` if too few are left.
    pub(super) fn take(&self, bytes: usize) -> Option<Places> {
        let places = u32::try_from(bytes.div_ceil(self.bytes_each).max(1)).ok()?;
        Arc::clone(&self.places).try_acquire_many_owned(places).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Fails if only the number of messages or only their bytes are limited.
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
