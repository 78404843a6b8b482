//! The backoff between rounds of connection attempts.

use std::time::Duration;

use rand::RngExt;

/// Exponential backoff with jitter.
#[derive(Debug)]
pub(super) struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts at `shortest` and doubles with each wait, up to `longest`.
    pub(super) fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest: longest.max(shortest), next: shortest }
    }

    /// Returns a random wait of 10% to 100% of the current interval. After a broker restart a whole fleet
    /// reconnects, and must not do so at once.
    pub(super) fn wait(&mut self) -> Duration {
        let full = self.next;
        self.next = (self.next * 2).min(self.longest);
        full.mul_f64(rand::rng().random_range(0.1..=1.0))
    }

    /// Starts again at `shortest` after a connection that lasted at least `longest`.
    pub(super) fn stood(&mut self, for_so_long: Duration) {
        if for_so_long >= self.longest {
            self.next = self.shortest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_start_again() {
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(shortest, longest);
        let waits: Vec<Duration> = (0..50).map(|_| backoff.wait()).collect();
        assert!(waits.iter().all(|wait| *wait <= longest && *wait >= shortest / 10));
        assert!(waits.iter().any(|wait| *wait > longest / 2));
        backoff.stood(longest / 2);
        assert_eq!(backoff.next, longest, "a connection that broke soon is not trusted");
        backoff.stood(longest);
        assert!(backoff.wait() <= shortest);
    }
}
