//! Repeats the report of a failed creation.
//!
//! Up to `usage_sleep_time` later, Trove's taskmanager sees the status `failed to spawn` and stores a fault
//! of its own, "Service not active, status: failed to spawn". It spares an older fault for only a few
//! seconds, and mistakes the local time for UTC when it counts them (`trove/instance/models.py`,
//! `save_instance_fault`, 12 to 26). Without the repetition the reason would be lost.

use std::time::Duration;

use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

/// Times after the first report. Nothing polls for longer than two minutes.
pub(in crate::transport) const AFTER: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120)];

/// Passes each message to `publish` at its time, until the agent stops.
pub(in crate::transport) async fn remind<T, F: Future<Output = ()>>(
    messages: Vec<T>,
    after: &[Duration],
    stopping: CancellationToken,
    publish: impl Fn(T) -> F,
) {
    let began = Instant::now();
    for (message, after) in messages.into_iter().zip(after) {
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            () = time::sleep_until(began + *after) => publish(message).await,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn each_message_has_its_time_and_none_comes_once_the_agent_stops() {
        let (stopping, began) = (CancellationToken::new(), Instant::now());
        let stop = stopping.clone();
        let (published, mut messages) = mpsc::unbounded_channel();
        let publish = move |message: u32| {
            published.send((message, began.elapsed())).unwrap();
            std::future::ready(())
        };
        let after = [Duration::from_millis(20), Duration::from_millis(60), Duration::from_secs(86_400)];
        let reminding = tokio::spawn(async move { remind(vec![1, 2, 3], &after, stopping, publish).await });
        for (number, after) in [1, 2].into_iter().zip(after) {
            let (message, at) = messages.recv().await.unwrap();
            assert!(message == number && at >= after, "{message} at {at:?}");
        }
        stop.cancel();
        reminding.await.unwrap();
        assert!(messages.recv().await.is_none(), "the third has not come");
    }

    #[tokio::test]
    async fn the_end_of_the_agent_is_not_held_up() {
        let stopping = CancellationToken::new();
        stopping.cancel();
        let day = [Duration::from_secs(86_400)];
        remind(vec![1], &day, stopping, |_| std::future::pending::<()>()).await;
    }
}
