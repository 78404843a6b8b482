//! Counts commands and their outcomes for `get_agent_status`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use trove_couchdb_protocol::Failure;

/// The figures at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Commands that a handler is running.
    pub running: u64,
    /// Commands that wait for a lock, for a free slot, or for CouchDB.
    pub waiting: u64,
    /// Commands that succeeded.
    pub done: u64,
    /// Commands that failed or were refused, and messages that are not commands.
    pub failed: u64,
    /// Duplicate messages.
    pub duplicates: u64,
    /// The last failure.
    pub last_error: Option<LastError>,
    /// The command that last found CouchDB unreachable or failing, while it is retried.
    pub retrying: Option<Retrying>,
}

/// A command that is retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrying {
    /// Its method.
    pub method: &'static str,
    /// Why it did not succeed yet.
    pub reason: String,
    /// How long it is retried, counted from its arrival.
    pub retry_timeout: Duration,
}

/// A command that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// When it failed.
    pub at: SystemTime,
    /// Its method; empty if it could not be read.
    pub method: String,
    /// The error message that its caller got.
    pub message: String,
}

/// Counts while the process runs. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct CommandCounters {
    figures: Arc<Mutex<Figures>>,
}

/// A command in flight. It is counted until dropped.
#[derive(Debug)]
pub struct InFlightGuard {
    counters: CommandCounters,
    running: bool,
    retrying: bool,
}

impl CommandCounters {
    /// The figures now.
    pub fn figures(&self) -> Figures {
        self.lock().clone()
    }

    /// Counts a command that starts to wait.
    pub fn enter(&self) -> InFlightGuard {
        self.lock().waiting += 1;
        InFlightGuard { counters: self.clone(), running: false, retrying: false }
    }

    /// Counts a success.
    pub fn succeeded(&self) {
        self.lock().done += 1;
    }

    /// Counts a failure; `method` is empty for a message that could not be read.
    pub fn failed(&self, method: &str, failure: &Failure) {
        let (method, message) = (method.to_owned(), failure.message.clone());
        let mut figures = self.lock();
        figures.failed += 1;
        figures.last_error = Some(LastError { at: SystemTime::now(), method, message });
    }

    /// Counts a duplicate message.
    pub fn came_again(&self) {
        self.lock().duplicates += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlightGuard {
    /// Records that a handler starts or stops running the command.
    pub fn set_running(&mut self, running: bool) {
        if self.running != running {
            self.running = running;
            let mut figures = self.counters.lock();
            let Figures { running: runs, waiting: waits, .. } = &mut *figures;
            let (more, less) = if running { (runs, waits) } else { (waits, runs) };
            *more += 1;
            *less = less.saturating_sub(1);
        }
    }
}

impl InFlightGuard {
    /// Records that the command did not succeed and is retried.
    pub fn set_retrying(&mut self, retrying: Retrying) {
        self.retrying = true;
        self.counters.lock().retrying = Some(retrying);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut figures = self.counters.lock();
        if self.retrying {
            figures.retrying = None;
        }
        let count = if self.running { &mut figures.running } else { &mut figures.waiting };
        *count = count.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use trove_couchdb_protocol::FailureClass;

    use super::*;

    #[test]
    fn a_command_is_counted_where_it_is() {
        let counters = CommandCounters::default();
        let at = |counters: &CommandCounters| (counters.figures().running, counters.figures().waiting);
        let mut first = counters.enter();
        let second = counters.enter();
        assert_eq!(at(&counters), (0, 2));
        first.set_running(true);
        first.set_running(true);
        assert_eq!(at(&counters), (1, 1));
        drop(second);
        assert_eq!(at(&counters), (1, 0));
        first.set_running(false);
        assert_eq!(at(&counters), (0, 1));
        drop(first);
        assert_eq!(at(&counters), (0, 0));
    }

    #[test]
    fn a_command_that_is_retried_is_counted_while_it_is() {
        let counters = CommandCounters::default();
        let mut guard = counters.enter();
        let retrying = Retrying {
            method: "create_user",
            reason: "down".to_owned(),
            retry_timeout: Duration::from_secs(9),
        };
        guard.set_retrying(retrying.clone());
        assert_eq!(counters.figures().retrying, Some(retrying));
        drop(guard);
        assert_eq!(counters.figures().retrying, None);
    }

    #[test]
    fn the_last_error_is_the_last_one() {
        let counters = CommandCounters::default();
        counters.failed("create_user", &Failure::new(FailureClass::Busy, "one"));
        counters.failed("", &Failure::new(FailureClass::Overwritten, "two"));
        counters.succeeded();
        let figures = counters.figures();
        assert_eq!((figures.done, figures.failed), (1, 2));
        let last = figures.last_error.map(|last| (last.method, last.message));
        assert_eq!(last, Some((String::new(), "two".to_owned())));
    }
}
