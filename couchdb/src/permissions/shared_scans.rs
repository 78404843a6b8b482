//! Shares scans of every `_security` between concurrent callers.
//!
//! A scan sends one request per database, and concurrent scans would slow each other down. So only one scan
//! runs at a time. Callers that arrive meanwhile share the next scan. They can't use the running one: it may
//! have read a database before a command that had already finished when the call arrived.
//!
//! ```text
//! call  call call call   call
//!   |-- scan --|-- scan --|-- scan --|
//! ```

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use crate::CouchError;

/// The databases of each user, sorted by name.
pub type UserAccess = BTreeMap<String, Vec<String>>;

/// The scheduled scans with the names that each must look for.
#[derive(Debug)]
pub(crate) struct SharedScans<T> {
    /// The scan that has not begun.
    next: Mutex<Option<Arc<Pass<T>>>>,
    /// Held by the running scan.
    running: AsyncMutex<()>,
}

#[derive(Debug)]
struct Pass<T> {
    wanted: Mutex<HashSet<String>>,
    found: OnceCell<Result<Arc<T>, CouchError>>,
}

impl<T> Default for SharedScans<T> {
    fn default() -> Self {
        Self { next: Mutex::default(), running: AsyncMutex::default() }
    }
}

impl<T> SharedScans<T> {
    /// The result of a scan that begins after this call. It looks for `names` and possibly other callers'
    /// names.
    pub(crate) async fn find(
        &self,
        names: &[&str],
        scan: impl AsyncFnOnce(HashSet<String>) -> Result<T, CouchError>,
    ) -> Result<Arc<T>, CouchError> {
        let pass = self.join(names);
        let _alone = self.running.lock().await;
        if let Some(found) = pass.found.get() {
            return found.clone();
        }
        self.begin(&pass);
        let wanted = lock(&pass.wanted).clone();
        // If this future is dropped, the next waiting caller runs the scan for all of them.
        let found = scan(wanted).await.map(Arc::new);
        // This can't fail: only the holder of the lock sets the result, and it was not set before.
        let _first = pass.found.set(found.clone());
        found
    }

    fn join(&self, names: &[&str]) -> Arc<Pass<T>> {
        let mut next = lock(&self.next);
        let pass =
            next.get_or_insert_with(|| Arc::new(Pass { wanted: Mutex::default(), found: OnceCell::new() }));
        lock(&pass.wanted).extend(names.iter().map(|name| (*name).to_owned()));
        Arc::clone(pass)
    }

    /// From now on, new callers wait for a later scan.
    fn begin(&self, pass: &Arc<Pass<T>>) {
        let mut next = lock(&self.next);
        if next.as_ref().is_some_and(|next| Arc::ptr_eq(next, pass)) {
            *next = None;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures_util::future::join_all;
    use tokio::{sync::Notify, time::timeout};

    use super::*;

    /// Counts the scans and records their names. Each scan waits for a permit.
    #[derive(Default)]
    struct Environment {
        shared_scans: SharedScans<usize>,
        passes: AtomicUsize,
        at_once: AtomicUsize,
        asked: Mutex<Vec<HashSet<String>>>,
        go: Notify,
    }

    impl Environment {
        async fn find(&self, name: &str) -> Result<usize, CouchError> {
            let scan = async |wanted: HashSet<String>| {
                assert_eq!(self.at_once.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                lock(&self.asked).push(wanted);
                self.go.notified().await;
                self.at_once.fetch_sub(1, Ordering::SeqCst);
                Ok(self.passes.fetch_add(1, Ordering::SeqCst))
            };
            self.shared_scans.find(&[name], scan).await.map(|found| *found)
        }
    }

    #[tokio::test]
    async fn who_asks_during_a_pass_waits_for_the_next_with_all_others() {
        let environment = Arc::new(Environment::default());
        let ask = |name: &'static str| {
            let environment = Arc::clone(&environment);
            tokio::spawn(async move { environment.find(name).await })
        };
        let first = ask("a");
        tokio::task::yield_now().await;
        let others = ["b", "c", "d"].map(ask);
        tokio::task::yield_now().await;
        environment.go.notify_one();
        assert_eq!(first.await.unwrap(), Ok(0), "only the first");
        tokio::task::yield_now().await;
        environment.go.notify_one();
        for other in join_all(others).await {
            assert_eq!(other.unwrap(), Ok(1), "one pass for all of them");
        }
        let asked = lock(&environment.asked).clone();
        assert_eq!(asked, [HashSet::from(["a".to_owned()]), ["b", "c", "d"].map(str::to_owned).into()]);
    }

    #[tokio::test]
    async fn a_caller_who_gives_up_leaves_the_pass_to_the_next() {
        let environment = Arc::new(Environment::default());
        let gone = timeout(Duration::from_millis(1), environment.find("a")).await;
        assert!(gone.is_err());
        environment.at_once.store(0, Ordering::SeqCst);
        environment.go.notify_one();
        assert_eq!(timeout(Duration::from_secs(1), environment.find("b")).await.unwrap(), Ok(0));
    }

    #[tokio::test]
    async fn a_failure_is_everybodys_and_the_next_pass_is_a_new_one() {
        let shared_scans = SharedScans::<()>::default();
        let failing = async |_| Err(CouchError::NotFound("x".to_owned()));
        assert!(shared_scans.find(&["a"], failing).await.is_err());
        assert!(shared_scans.find(&["a"], async |_| Ok(())).await.is_ok());
    }
}
