//! Searches several scenarios at the same time, one on each core.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    scenario::Scenario,
    search::{Found, search},
};

/// Searches each scenario with `faults` of it; passes each result to `done` with the time that it took. After a
/// counterexample it begins no other scenario.
pub fn search_each(
    scenarios: &[Scenario],
    faults: impl Fn(&Scenario) -> u8 + Sync,
    limit: Duration,
    done: impl FnMut(&Scenario, Found, Duration) + Send,
) {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(done));
    let work = || {
        while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
            let began = Instant::now();
            let found = search(scenario, faults(scenario), limit);
            if found.counterexample.is_some() {
                next.store(scenarios.len(), Ordering::Relaxed);
            }
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done(scenario, found, began.elapsed());
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
}
