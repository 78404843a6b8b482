//! Rotation of `os_admin`'s password: on command, and when the password has reached its maximum age.
//!
//! ```text
//! file {old, new} -> running requests finish -> CouchDB gets new -> one login with new -> file {new}
//! ```
//!
//! If the agent is killed at any point, the file holds the password that the server knows. The next agent
//! tries both passwords once: two of the five wrong logins that CouchDB 3.4+ allows. No request is refused
//! meanwhile: new requests wait, and none is in flight while the password changes.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::{mpsc, oneshot, watch};

use trove_couchdb_guest::credentials::Credentials;

use super::error::BootstrapError;
use crate::couch::{AdminLogin, Login};

/// How long to wait for requests in flight before the rotation is given up.
pub(super) const DRAIN: Duration = Duration::from_secs(40);

/// How long to wait after a failed scheduled rotation.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(3600);

/// One request may wait; a second one would ask for the same rotation.
const QUEUE: usize = 1;

/// Why the password was not changed, as text for the caller. The old one is valid unless the text says
/// otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// There is no login to change the password with.
    #[error("os_admin keeps its password, as the agent has no login to change it with: {0}")]
    NoLogin(String),
    /// A rotation is in progress.
    #[error("os_admin's password is being changed already")]
    UnderWay,
    /// Requests in flight took too long.
    #[error("CouchDB did not finish what it was asked before within {} s; try again", DRAIN.as_secs())]
    Busy,
    /// The new password is valid only until CouchDB restarts.
    #[error(
        "os_admin's password was changed, and CouchDB will read the old one when it restarts: {0}; make that file writable, then \
         rotate again"
    )]
    IniIsBehind(String),
    /// A step failed. The text holds no secret.
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

/// The result of a successful rotation.
pub(super) struct Rotated {
    /// The login with the new password.
    pub(super) login: Arc<Login>,
    /// The new content of the credentials file.
    pub(super) credentials: Credentials,
    /// Whether an ini file that names `os_admin` was updated too.
    pub(super) followed: Result<(), RotationError>,
}

/// Receives the outcome of a request.
type Answer = oneshot::Sender<Result<(), RotationError>>;

/// Requests rotations from bootstrap.
#[derive(Debug, Clone)]
pub struct Rotator {
    requests: mpsc::Sender<Answer>,
    admin: watch::Receiver<AdminLogin>,
}

/// Bootstrap's side of a [`Rotator`].
#[derive(Debug)]
pub struct RotationRequests {
    requests: mpsc::Receiver<Answer>,
    due: mpsc::Sender<()>,
}

/// Signals that the password is old enough to be rotated. The receiver then uses a [`Rotator`], in order with
/// all other commands.
#[derive(Debug)]
pub struct RotationDue(mpsc::Receiver<()>);

impl RotationDue {
    /// Returns when the password is due for rotation; `None` once bootstrap has stopped.
    pub async fn next(&mut self) -> Option<()> {
        self.0.recv().await
    }
}

impl Rotator {
    /// A rotator, its requests, and the schedule's signals. `admin` says whether there is a login to rotate.
    pub fn new(admin: watch::Receiver<AdminLogin>) -> (Self, RotationRequests, RotationDue) {
        let (requests, receiver) = mpsc::channel(QUEUE);
        let (due, is_due) = mpsc::channel(QUEUE);
        (Self { requests, admin }, RotationRequests { requests: receiver, due }, RotationDue(is_due))
    }

    /// Changes `os_admin`'s password. Returns when the new one is valid, or at once if there is no login to
    /// change it with.
    pub async fn rotate(&self) -> Result<(), RotationError> {
        match &*self.admin.borrow() {
            AdminLogin::Ready(_) => {}
            AdminLogin::Pending(why) | AdminLogin::Stuck(why) => return Err(RotationError::no_login(why)),
            AdminLogin::Impaired(degraded) => return Err(RotationError::no_login(&degraded.reason)),
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
    /// The next request. Never returns once every [`Rotator`] is dropped.
    pub(super) async fn next(&mut self) -> Answer {
        match self.requests.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// Refuses every request, because no password can be changed while bootstrap looks for a login.
    pub(super) async fn refuse_all(&mut self) -> Infallible {
        loop {
            let refused = RotationError::no_login("CouchDB was unreachable and is being checked; try again");
            let _gone = self.next().await.send(Err(refused));
        }
    }

    /// Signals that the password is due. A signal that is still queued is enough.
    pub(super) fn are_due(&self) {
        let _told_before = self.due.try_send(());
    }
}

/// How long until a password of this age is due.
pub(super) fn due_in(since: SystemTime, after: Duration, now: SystemTime) -> Duration {
    // A time in the future means that the clock was set back; the password then counts as new.
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
        // Without a login bootstrap is not asked.
        writer.send_replace(AdminLogin::Stuck("restore the file".to_owned()));
        assert_eq!(rotator.rotate().await, Err(RotationError::no_login("restore the file")));
        writer.send_replace(AdminLogin::Ready(Arc::new(Login::new("os_admin", &Secret::new("pw")))));
        drop(requests);
        assert_eq!(rotator.rotate().await, Err(RotationError::stopping()));
    }
}
