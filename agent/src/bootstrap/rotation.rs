//! Another password for `os_admin`: on command, and when the old one has stood for long enough.
//!
//! ```text
//! file {old, new} -> requests with old end, others wait -> CouchDB takes new -> login with new, once -> file {new}
//! ```
//!
//! Killed at any point, the file holds the password that the server knows, and the next agent tries both, once each:
//! two of the five wrong logins that CouchDB 3.4+ allows. Nobody is refused meanwhile, since no request is under way
//! while the password changes.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};
use trove_couchdb_protocol::Secret;

use super::{
    Bootstrap, BootstrapError, blocking,
    credentials::{self, Credentials},
    ini::AdminIni,
    observe::{OS_ADMIN_SHA1_ITERATIONS, ini_error},
};
use crate::couch::{AdminLogin, CouchError, Login};

/// How long requests that are under way may take until the password changes. Longer than that, CouchDB has other
/// worries.
const DRAIN: Duration = Duration::from_secs(40);

/// A rotation that failed by schedule is tried again after this.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(3600);

/// Requests that may wait; a second one asks for nothing that the first doesn't do.
const QUEUE: usize = 1;

/// Why the password was not changed, in words for the caller. The old one holds, unless the text says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// There is no login to change the password with.
    #[error("os_admin has no login at the moment; `status` says why")]
    NoLogin,
    /// One is under way.
    #[error("os_admin's password is being changed already")]
    UnderWay,
    /// Requests went on for too long.
    #[error("CouchDB did not finish what it was asked before within {} s; try again", DRAIN.as_secs())]
    Busy,
    /// Something did not answer as it should; the text holds no secret.
    #[error("{0}")]
    Failed(String),
}

/// What becomes of a request.
type Answer = oneshot::Sender<Result<(), RotationError>>;

/// Asks bootstrap for a rotation.
#[derive(Debug, Clone)]
pub struct Rotator {
    requests: mpsc::Sender<Answer>,
}

/// Bootstrap's end.
#[derive(Debug)]
pub struct RotationRequests(mpsc::Receiver<Answer>);

impl Rotator {
    /// A rotator and what it asks.
    pub fn new() -> (Self, RotationRequests) {
        let (requests, receiver) = mpsc::channel(QUEUE);
        (Self { requests }, RotationRequests(receiver))
    }

    /// Gives `os_admin` another password; returns when it holds.
    pub async fn rotate(&self) -> Result<(), RotationError> {
        let (answer, answered) = oneshot::channel();
        match self.requests.try_send(answer) {
            Ok(()) => answered.await.unwrap_or(Err(RotationError::NoLogin)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(RotationError::UnderWay),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(RotationError::NoLogin),
        }
    }
}

impl RotationRequests {
    /// The next request; never returns when nobody can ask any more.
    pub(super) async fn next(&mut self) -> Answer {
        match self.0.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// Without a login nothing can be changed: nobody shall wait for it.
    pub(super) fn refuse_all(&mut self) {
        while let Ok(answer) = self.0.try_recv() {
            let _gone = answer.send(Err(RotationError::NoLogin));
        }
    }
}

/// How long until a password of this age is to be changed.
pub(super) fn due_in(since: SystemTime, after: Duration, now: SystemTime) -> Duration {
    // One from the future tells of a clock that was set back: it counts as new.
    let age = now.duration_since(since).unwrap_or_default();
    after.saturating_sub(age)
}

impl Bootstrap {
    /// Changes the password. Answers with the new login and what the file holds now.
    pub(super) async fn rotate(
        &self,
        old: &Arc<Login>,
        credentials: &Credentials,
    ) -> Result<(Arc<Login>, Credentials), (RotationError, Holds)> {
        let still = |error: BootstrapError| (RotationError::Failed(error.to_string()), Holds::Old);
        let (version, config) = self.server(Some(old)).await.map_err(still)?;
        let both = credentials.with_next();
        let Some(next) = both.next.clone() else {
            return Err((RotationError::NoLogin, Holds::Old));
        };
        self.store(&both).await.map_err(still)?;

        let Some(retirement) = old.retire(DRAIN).await else {
            self.store(credentials).await.map_err(still)?;
            return Err((RotationError::Busy, Holds::Old));
        };
        let proven = async {
            self.put_os_admin(Some(old), version, &config, &next).await?;
            let refused = BootstrapError::Couch(CouchError::LoginRefused);
            self.try_password(&next).await?.ok_or(refused)
        };
        let login = match proven.await {
            Ok(login) => login,
            Err(error) => {
                // The old one must not be used either: five refusals lock the account.
                let why = "os_admin's password was being changed; which one CouchDB took is found out";
                self.admin.send_replace(AdminLogin::Pending(why.to_owned()));
                retirement.complete();
                return Err((RotationError::Failed(error.to_string()), Holds::Unknown));
            }
        };
        self.admin.send_replace(AdminLogin::Ready(Arc::clone(&login)));
        retirement.complete();

        // The change has happened; what is left is made good by the next start at the latest.
        let promoted = both.promoted();
        for leftover in [self.store(&promoted).await, self.ini_follows(&next).await] {
            if let Err(error) = leftover {
                warn!(%error, "os_admin's password was changed, and not everything on the disk follows yet.");
            }
        }
        info!("os_admin has another password.");
        Ok((login, promoted))
    }

    pub(super) async fn store(&self, credentials: &Credentials) -> Result<(), BootstrapError> {
        let (path, credentials) = (self.settings.credentials_file.clone(), credentials.clone());
        Ok(blocking(move || credentials::store(&path, &credentials)).await??)
    }

    /// The ini file gets the password too, if it names `os_admin`: CouchDB would read the old one at its next start.
    pub(super) async fn ini_follows(&self, password: &Secret) -> Result<(), BootstrapError> {
        let Some(directory) = &self.settings.local_ini_dir else { return Ok(()) };
        let (ini, password) = (AdminIni::in_directory(directory), password.clone());
        let path = ini.path().to_owned();
        let followed = blocking(move || ini.follow(&password, OS_ADMIN_SHA1_ITERATIONS)).await?;
        followed.map_err(ini_error(&path))
    }
}

/// Which password the server takes after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Nothing was sent.
    Old,
    /// The server may know either.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_due_when_it_is_old_enough() {
        let (day, now) = (Duration::from_secs(86_400), SystemTime::now());
        assert_eq!(due_in(now, day, now), day);
        assert_eq!(due_in(now - day / 2, day, now), day / 2);
        assert_eq!(due_in(now - day * 9, day, now), Duration::ZERO);
        assert_eq!(due_in(now + day, day, now), day, "a clock that was set back");
    }

    #[tokio::test]
    async fn nobody_waits_in_vain() {
        let (rotator, mut requests) = Rotator::new();
        let first = tokio::spawn({
            let rotator = rotator.clone();
            async move { rotator.rotate().await }
        });
        tokio::task::yield_now().await;
        assert_eq!(rotator.rotate().await, Err(RotationError::UnderWay));
        requests.refuse_all();
        assert_eq!(first.await.ok(), Some(Err(RotationError::NoLogin)));
        drop(requests);
        assert_eq!(rotator.rotate().await, Err(RotationError::NoLogin));
    }
}
