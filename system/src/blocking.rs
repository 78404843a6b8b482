//! Runs blocking work on a separate thread.

use tokio::task::{self, JoinHandle};
use tracing::Span;

/// Runs `work` on a blocking thread, in the current tracing span.
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let about = Span::current();
    task::spawn_blocking(move || about.in_scope(work))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tracing::{dispatcher, error_span, subscriber::with_default};
    use tracing_subscriber::Registry;

    use super::*;

    #[test]
    fn its_lines_are_about_what_its_callers_are() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        with_default(Registry::default(), || {
            let log = dispatcher::get_default(Clone::clone);
            let about = error_span!("agent");
            let there = about.in_scope(|| {
                runtime.block_on(async {
                    blocking(move || dispatcher::with_default(&log, || Span::current().id())).await
                })
            });
            assert_eq!(there.unwrap(), about.id());
            assert!(about.id().is_some());
        });
    }
}
