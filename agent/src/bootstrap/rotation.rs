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
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::{mpsc, oneshot, watch};

use trove_couchdb_guest::credentials::Credentials;

use super::error::BootstrapError;
use crate::couch::{AdminLogin, Login};

/// How long requests that are under way may take until the password changes. Longer than that, CouchDB has other
/// worries.
pub(super) const DRAIN: Duration = Duration::from_secs(40);

/// A rotation that failed by schedule is tried again after this.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(3600);

/// Requests that may wait; a second one asks for nothing that the first doesn't do.
const QUEUE: usize = 1;

/// Why the password was not changed, in words for the caller. The old one holds, unless the text says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// There is no login to change the password with.
    #[error("os_admin keeps its password, as the agent has no login to change it with: {0}")]
    NoLogin(String),
    /// One is under way.
    #[error("os_admin's password is being changed already")]
    UnderWay,
    /// Requests went on for too long.
    #[error("CouchDB did not finish what it was asked before within {} s; try again", DRAIN.as_secs())]
    Busy,
    /// The new password holds only until CouchDB restarts.
    #[error(
        "os_admin has another password, and CouchDB will read the old one when it restarts: {0}; make that file writable, then \
         rotate again"
    )]
    IniIsBehind(String),
    /// Something did not answer as it should; the text holds no secret.
    #[error("{0}")]
    Failed(String),
}

impl RotationError {
    pub(super) fn no_login(why: &str) -> Self {
        Self::NoLogin(why.to_owned())
    }

    #[allow(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(super) fn ini_is_behind(error: BootstrapError) -> Self {
        Self::IniIsBehind(error.to_string())
    }

    pub(super) fn stopping() -> Self {
        Self::no_login("the agent is stopping")
    }
}

/// The password was changed.
pub(super) struct Rotated {
    /// With the new one.
    pub(super) login: Arc<Login>,
    /// What the file holds now.
    pub(super) credentials: Credentials,
    /// Whether an ini file that names `os_admin` has the new one too.
    pub(super) followed: Result<(), RotationError>,
}

/// What becomes of a request.
type Answer = oneshot::Sender<Result<(), RotationError>>;

/// Asks bootstrap for a rotation.
#[derive(Debug, Clone)]
pub struct Rotator {
    requests: mpsc::Sender<Answer>,
    admin: watch::Receiver<AdminLogin>,
}

/// Bootstrap's end.
#[derive(Debug)]
pub struct RotationRequests {
    requests: mpsc::Receiver<Answer>,
    due: mpsc::Sender<()>,
}

/// Tells when the password is old enough to be changed. Whoever hears it asks a [`Rotator`], in the order of all commands.
#[derive(Debug)]
pub struct RotationDue(mpsc::Receiver<()>);

impl RotationDue {
    /// Returns when the password is to be changed; `None` when bootstrap is gone.
    pub async fn next(&mut self) -> Option<()> {
        self.0.recv().await
    }
}

impl Rotator {
    /// A rotator, what it asks, and when to ask by schedule; `admin` says whether there is a login to rotate.
    pub fn new(admin: watch::Receiver<AdminLogin>) -> (Self, RotationRequests, RotationDue) {
        let (requests, receiver) = mpsc::channel(QUEUE);
        let (due, is_due) = mpsc::channel(QUEUE);
        (Self { requests, admin }, RotationRequests { requests: receiver, due }, RotationDue(is_due))
    }

    /// Gives `os_admin` another password; returns when it holds, and at once when there is nothing to change it with.
    pub async fn rotate(&self) -> Result<(), RotationError> {
        if let AdminLogin::Pending(why) | AdminLogin::Stuck(why) = &*self.admin.borrow() {
            return Err(RotationError::no_login(why));
        }
        let (answer, answered) = oneshot::channel();
        match self.requests.try_send(answer) {
            Ok(()) => answered.await.unwrap_or_else(|_| Err(RotationError::stopping())),
            Err(mpsc::error::TrySendError::Full(_)) => Err(RotationError::UnderWay),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(RotationError::stopping()),
        }
    }
}

impl RotationRequests {
    /// The next request; never returns when nobody can ask any more.
    pub(super) async fn next(&mut self) -> Answer {
        match self.requests.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// While bootstrap looks for a login nothing can be changed: nobody shall wait for it.
    pub(super) async fn refuse_all(&mut self) -> Infallible {
        loop {
            let refused = RotationError::no_login("CouchDB was away, and is being looked at; try again");
            let _gone = self.next().await.send(Err(refused));
        }
    }

    /// The password is old enough. One that was told and not acted on yet says the same.
    pub(super) fn are_due(&self) {
        let _told_before = self.due.try_send(());
    }
}

/// How long until a password of this age is to be changed.
pub(super) fn due_in(since: SystemTime, after: Duration, now: SystemTime) -> Duration {
    // One from the future tells of a clock that was set back: it counts as new.
    let age = now.duration_since(since).unwrap_or_default();
    after.saturating_sub(age)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use trove_couchdb_protocol::Secret;

    use super::*;
    use crate::couch::Login;

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
        let login = Login::new("os_admin", &Secret::new("pw"));
        let (writer, admin) = watch::channel(AdminLogin::Ready(Arc::new(login)));
        let (rotator, mut requests, _due) = Rotator::new(admin);
        let first = tokio::spawn({
            let rotator = rotator.clone();
            async move { rotator.rotate().await }
        });
        tokio::task::yield_now().await;
        assert_eq!(rotator.rotate().await, Err(RotationError::UnderWay));
        tokio::select! {
            never = requests.refuse_all() => match never {},
            first = first => assert!(matches!(first, Ok(Err(RotationError::NoLogin(_)))), "{first:?}"),
        }
        // Without a login it is not even asked.
        writer.send_replace(AdminLogin::Stuck("restore the file".to_owned()));
        assert_eq!(rotator.rotate().await, Err(RotationError::no_login("restore the file")));
        writer.send_replace(AdminLogin::Ready(Arc::new(Login::new("os_admin", &Secret::new("pw")))));
        drop(requests);
        assert_eq!(rotator.rotate().await, Err(RotationError::stopping()));
    }
}
