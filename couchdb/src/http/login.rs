//! A name and password for CouchDB, protected from being tried too often.
//!
//! CouchDB 3.4+ locks an account after five wrong passwords for all clients with the same address, including
//! operators on the same host. A password can become wrong at any time (it is changed, or another server
//! takes the port), and a busy agent could send it in dozens of requests at once. So a refused login is never
//! sent again. After a quiet second, one request is sent alone as a probe, and the others follow when CouchDB
//! has accepted it.
//!
//! When a password is about to be changed, requests with the old one may finish (long ones may begin), and
//! new requests wait for the new password ([`Login::retire`]).
//!
//! `client` uses this module, which sends nothing itself.

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

/// How long an accepted login counts as valid. If the password changes within this time, all requests sent
/// meanwhile are refused: one or two on an idle agent.
const PROOF: Duration = Duration::from_secs(1);

/// A name and password, with the header for requests.
#[derive(Debug)]
pub struct Login {
    name: String,
    header: HeaderValue,
    refused: AtomicBool,
    /// Notified of the refusal. Only bootstrap waits for it.
    refusal: Notify,
    /// When CouchDB last accepted the login.
    taken: Mutex<Option<Instant>>,
    probe: AsyncMutex<()>,
    /// Whether the login was replaced. Read-locked by every request whose login CouchDB may not have checked
    /// yet.
    retired: Arc<RwLock<bool>>,
}

impl Login {
    /// HTTP Basic credentials (RFC 7617, UTF-8).
    pub fn new(name: &str, password: &Secret) -> Self {
        let pair = Zeroizing::new(format!("{name}:{}", password.expose()));
        let text = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        // Base64 is always valid in a header. The fallback would only be refused by CouchDB.
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

    /// The right to begin one request with this login. `None` if the login was replaced.
    pub(crate) async fn client_use(&self) -> Option<ClientUse> {
        let retired = Arc::clone(&self.retired).read_owned().await;
        (!*retired).then_some(ClientUse { _in_use: retired })
    }

    /// The same without waiting. `None` also while the login is being replaced.
    pub(crate) fn client_use_now(&self) -> Option<ClientUse> {
        let retired = Arc::clone(&self.retired).try_read_owned().ok()?;
        (!*retired).then_some(ClientUse { _in_use: retired })
    }

    /// Waits until CouchDB has checked this login in all requests that carry it, and holds back new requests.
    /// `None` if that takes longer than `limit`.
    pub async fn retire(&self, limit: Duration) -> Option<DrainGuard<'_>> {
        let retired = time::timeout(limit, self.retired.write()).await.ok()?;
        Some(DrainGuard { retired })
    }

    /// The account's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether CouchDB has answered 401 to this login.
    pub fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// Returns when CouchDB has answered 401 to this login.
    pub async fn until_refused(&self) {
        // A refusal between the check and the wait leaves a permit, so it is not missed.
        while !self.was_refused() {
            self.refusal.notified().await;
        }
    }

    pub(crate) fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// Waits until a request may carry this login. A guard that holds the lock makes the request the probe
    /// and is kept until [`Login::learn`] has processed the answer. `None` if the current probe takes longer
    /// than `limit`.
    pub(crate) async fn admit(&self, limit: Duration) -> Option<Result<LoginProbe<'_>, CouchError>> {
        if let Some(known) = self.verdict() {
            return Some(known);
        }
        let alone = time::timeout(limit, self.probe.lock()).await.ok()?;
        // The previous holder of the lock has an answer by now, or its request failed.
        Some(self.verdict().unwrap_or(Ok(LoginProbe { _alone: Some(alone) })))
    }

    fn verdict(&self) -> Option<Result<LoginProbe<'_>, CouchError>> {
        if self.was_refused() {
            return Some(Err(CouchError::LoginRefused));
        }
        let taken = *self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.is_some_and(|taken| taken.elapsed() < PROOF).then_some(Ok(LoginProbe { _alone: None }))
    }

    /// Updates the state of the login from an answer.
    pub(crate) fn learn<T>(&self, answer: &Result<T, CouchError>) {
        match answer {
            Err(error) if error.is_refusal() => {
                self.refused.store(true, Ordering::Release);
                self.refusal.notify_one();
            }
            // Without an answer, or with one from a proxy or for a locked account, the password was not
            // checked.
            Err(error) if !error.shows_that_it_was_taken() => {}
            _ => *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now()),
        }
    }
}

/// A request whose login CouchDB may not have checked yet. CouchDB checks it once, when it has the head of
/// the request. The transfer of the bodies, which may take hours, needs no such guard.
#[derive(Debug)]
pub(crate) struct ClientUse {
    _in_use: OwnedRwLockReadGuard<bool>,
}

/// Exclusive access to a login that no request uses. If dropped, the login is used again as before.
#[derive(Debug)]
pub struct DrainGuard<'a> {
    retired: RwLockWriteGuard<'a, bool>,
}

impl DrainGuard<'_> {
    /// Marks the login as replaced, after the new one was published. Waiting requests take the new one.
    pub fn complete(mut self) {
        *self.retired = true;
    }
}

/// The permission to send a login, as the probe or without.
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
    async fn a_login_retires_when_it_is_unused_and_only_if_a_new_one_replaced_it() {
        let login = Login::new("os_admin", &Secret::new("pw"));
        let limit = Duration::from_millis(20);
        let client_use = login.client_use().await.unwrap();
        assert!(login.retire(limit).await.is_none(), "a request is under way");
        drop(client_use);
        drop(login.retire(limit).await.unwrap());
        assert!(login.client_use().await.is_some(), "nothing came of it");
        login.retire(limit).await.unwrap().complete();
        assert!(login.client_use().await.is_none());
    }

    #[tokio::test]
    async fn others_wait_for_the_login_probe_and_no_longer_than_they_can() {
        let login = Login::new("os_admin", &Secret::new("pw"));
        let limit = Duration::from_millis(20);
        let probe = login.admit(limit).await.unwrap().unwrap();
        assert!(login.admit(limit).await.is_none(), "no answer yet");
        login.learn(&Err::<(), _>(CouchError::LockedOut));
        assert!(login.admit(limit).await.is_none(), "a lock says nothing of the password");
        login.learn(&Ok(()));
        let _beside_it = login.admit(limit).await.unwrap().unwrap();
        login.learn(&Err::<(), _>(CouchError::LoginRefused));
        drop(probe);
        assert_eq!(login.admit(limit).await.unwrap().err(), Some(CouchError::LoginRefused));
    }
}
