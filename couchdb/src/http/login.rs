//! A name and password for CouchDB, and the care that they are not tried too often.
//!
//! CouchDB 3.4+ locks an account after five wrong passwords, for every client of the same address: operators on
//! the same host too. A password can become wrong at any time (somebody changes it, or another server takes the
//! port), and a busy agent would learn that from dozens of requests at once. So a refused login is never sent
//! again, and after a quiet second one request goes ahead alone, like a canary into a mine; the others follow
//! when CouchDB took it.
//!
//! A password that is about to be changed is a different matter: requests that carry the old one are let finish (long ones
//! are let begin), and the others wait for the new one ([`Login::retire`]).
//!
//! Used by `client`; never sends anything itself.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::header::HeaderValue;
use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard, Notify, OwnedRwLockReadGuard, RwLock, RwLockWriteGuard},
    time::{self, Instant},
};
use trove_couchdb_protocol::Secret;
use zeroize::Zeroizing;

use crate::reply::error::CouchError;

/// How long an accepted request vouches for the next ones. What was sent within it when the password changed may
/// still be refused: about as many requests as one second holds on an idle agent, which is one or two.
const PROOF: Duration = Duration::from_secs(1);

/// A name and password, as CouchDB wants them in a request.
#[derive(Debug)]
pub struct Login {
    name: String,
    header: HeaderValue,
    refused: AtomicBool,
    /// Told of the refusal; bootstrap is the only one who waits for it.
    refusal: Notify,
    /// When CouchDB last took it.
    taken: Mutex<Option<Instant>>,
    probe: AsyncMutex<()>,
    /// Whether another login has taken its place; read-locked by every request that CouchDB may not have looked at yet.
    retired: Arc<RwLock<bool>>,
}

impl Login {
    /// HTTP Basic credentials (RFC 7617, UTF-8).
    pub fn new(name: &str, password: &Secret) -> Self {
        let pair = Zeroizing::new(format!("{name}:{}", password.expose()));
        let text = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        // Base64 is always legal in a header; the fallback only means a refused login.
        let mut header =
            HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Basic unusable"));
        header.set_sensitive(true);
        Self {
            name: name.to_owned(),
            header,
            refused: AtomicBool::new(false),
            refusal: Notify::new(),
            taken: Mutex::default(),
            probe: AsyncMutex::default(),
            retired: Arc::new(RwLock::new(false)),
        }
    }

    /// The right to begin one request with this login; `None` once another one has taken its place.
    pub(crate) async fn client_use(&self) -> Option<ClientUse> {
        let retired = Arc::clone(&self.retired).read_owned().await;
        (!*retired).then_some(ClientUse { _in_use: retired })
    }

    /// The same without waiting: `None` while it is about to be replaced, too.
    pub(crate) fn client_use_now(&self) -> Option<ClientUse> {
        let retired = Arc::clone(&self.retired).try_read_owned().ok()?;
        (!*retired).then_some(ClientUse { _in_use: retired })
    }

    /// Waits until CouchDB has looked at this login in every request that carries it, and keeps new ones waiting meanwhile;
    /// `None` if one takes longer than `patience`.
    pub async fn retire(&self, patience: Duration) -> Option<DrainGuard<'_>> {
        let retired = time::timeout(patience, self.retired.write()).await.ok()?;
        Some(DrainGuard { retired })
    }

    /// The account's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether CouchDB has answered 401 to it.
    pub fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// Returns when CouchDB has answered 401 to it.
    pub async fn until_refused(&self) {
        // A refusal between the look and the wait leaves a permit behind.
        while !self.was_refused() {
            self.refusal.notified().await;
        }
    }

    pub(crate) fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// Waits until a request may carry this login; whoever gets the guard is the canary, and keeps it until
    /// [`Login::learn`] has heard the answer. `None` if the canary does not return within `patience`.
    pub(crate) async fn admit(&self, patience: Duration) -> Option<Result<LoginProbe<'_>, CouchError>> {
        if let Some(known) = self.verdict() {
            return Some(known);
        }
        let alone = time::timeout(patience, self.probe.lock()).await.ok()?;
        // Whoever held the lock has brought an answer meanwhile, or none at all.
        Some(self.verdict().unwrap_or(Ok(LoginProbe { _alone: Some(alone) })))
    }

    fn verdict(&self) -> Option<Result<LoginProbe<'_>, CouchError>> {
        if self.was_refused() {
            return Some(Err(CouchError::LoginRefused));
        }
        let taken = *self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.is_some_and(|taken| taken.elapsed() < PROOF).then_some(Ok(LoginProbe { _alone: None }))
    }

    /// Draws the conclusion from an answer.
    pub(crate) fn learn<T>(&self, answer: &Result<T, CouchError>) {
        match answer {
            Err(error) if error.is_refusal() => {
                self.refused.store(true, Ordering::Release);
                self.refusal.notify_one();
            }
            // A locked account's password was not looked at, a proxy's answer tells nothing of it, and neither does none.
            Err(error) if !error.shows_that_it_was_taken() => {}
            _ => *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now()),
        }
    }
}

/// A request whose login CouchDB may not have looked at yet. It does so once, when it has the head of the request; what it sends
/// or takes after that, perhaps for hours, needs no lease.
#[derive(Debug)]
pub(crate) struct ClientUse {
    _in_use: OwnedRwLockReadGuard<bool>,
}

/// A login that nobody uses at the moment. Dropped, it is used again as before.
#[derive(Debug)]
pub struct DrainGuard<'a> {
    retired: RwLockWriteGuard<'a, bool>,
}

impl DrainGuard<'_> {
    /// Another login has been published in its place: whoever waited for this one takes that.
    pub fn complete(mut self) {
        *self.retired = true;
    }
}

/// The permission to send a login, with the others kept waiting or without.
#[derive(Debug)]
pub(crate) struct LoginProbe<'a> {
    _alone: Option<MutexGuard<'a, ()>>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_login_hides_its_password() {
        let login = Login::new("os_admin", &Secret::new("hunter2"));
        let shown = format!("{login:?}");
        assert!(!shown.contains("hunter2") && !shown.contains(&BASE64_STANDARD.encode("os_admin:hunter2")));
        assert!(shown.contains("Sensitive"), "{shown}");
    }

    #[tokio::test]
    async fn a_login_retires_when_nobody_uses_it_and_only_if_another_came() {
        let login = Login::new("os_admin", &Secret::new("pw"));
        let patience = Duration::from_millis(20);
        let client_use = login.client_use().await.unwrap();
        assert!(login.retire(patience).await.is_none(), "a request is under way");
        drop(client_use);
        drop(login.retire(patience).await.unwrap());
        assert!(login.client_use().await.is_some(), "nothing came of it");
        login.retire(patience).await.unwrap().complete();
        assert!(login.client_use().await.is_none());
    }

    #[tokio::test]
    async fn others_wait_for_the_canary_and_no_longer_than_they_can() {
        let login = Login::new("os_admin", &Secret::new("pw"));
        let patience = Duration::from_millis(20);
        let probe = login.admit(patience).await.unwrap().unwrap();
        assert!(login.admit(patience).await.is_none(), "no answer yet");
        login.learn(&Err::<(), _>(CouchError::LockedOut));
        assert!(login.admit(patience).await.is_none(), "a lock says nothing of the password");
        login.learn(&Ok(()));
        let _beside_it = login.admit(patience).await.unwrap().unwrap();
        login.learn(&Err::<(), _>(CouchError::LoginRefused));
        drop(probe);
        assert_eq!(login.admit(patience).await.unwrap().err(), Some(CouchError::LoginRefused));
    }
}
