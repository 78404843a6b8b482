//! The way to an `os_admin` login, and back to it when it was lost.
//!
//! [`Bootstrap::run`] is one task for the life of the agent and the only writer of [`AdminLogin`]: it looks at
//! the disk and the server, does the one step that [`state::next`] names, and looks again. Once there is a
//! login it watches whether CouchDB still takes it, and looks again when CouchDB was away: another data directory
//! may stand behind the same address, without `_users`.

mod credentials;
mod ini;
mod observe;
mod rotation;
pub mod state;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use credentials::CredentialsError;
pub use rotation::{RotationError, RotationRequests, Rotator};

use crate::{
    config::CouchSettings,
    couch::{AdminLogin, Client, CouchError, Hasher, Login},
    system,
};
use observe::Life;
use rotation::Holds;
use state::Step;

/// How often an absent server is looked for.
const SERVER_WAIT: Duration = Duration::from_millis(500);

/// How long a verdict stands before everything is looked at anew, unless the operator changes something before.
/// With the command that met the refusal first and one try for each look there are three wrong logins in the
/// five minutes in which CouchDB allows five.
const VERDICT_WAIT: Duration = Duration::from_secs(200);

/// How long a locked account is left alone: the answer to it tells nothing of the password.
const LOCKED_WAIT: Duration = Duration::from_secs(60);

/// How often a standing verdict is checked for a change on the disk.
const WATCH: Duration = Duration::from_secs(2);

/// How long after a refusal the one more try is made.
const REPAIR: Duration = Duration::from_secs(1);

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The credentials file.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The ini file.
    #[error("the ini file {path} can't be read or written: {source}")]
    Ini {
        /// The file.
        path: String,
        /// The system's own words.
        source: std::io::Error,
    },
    /// CouchDB.
    #[error(transparent)]
    Couch(#[from] CouchError),
    /// CouchDB refused the configured bootstrap administrator.
    #[error("CouchDB refuses the configured bootstrap_admin {0:?}; correct its name or password")]
    BootstrapAdminRefused(String),
    /// `_users` stays unguarded.
    #[error(
        "CouchDB made no _design/_auth in _users; until it does, anybody could store what they like there"
    )]
    NoAuthDesign,
    /// The runtime is shutting down.
    #[error("the agent is stopping")]
    Stopping,
    /// A state that only the operator can leave.
    #[error("{0}")]
    Stuck(&'static str),
}

/// The task.
#[derive(Debug)]
pub struct Bootstrap {
    settings: CouchSettings,
    client: Client,
    hasher: Hasher,
    admin: watch::Sender<AdminLogin>,
    rotations: RotationRequests,
    stopping: CancellationToken,
}

impl Bootstrap {
    /// A bootstrap that has looked at nothing yet.
    pub fn new(
        settings: CouchSettings,
        client: Client,
        hasher: Hasher,
        admin: watch::Sender<AdminLogin>,
        rotations: RotationRequests,
        stopping: CancellationToken,
    ) -> Self {
        Self { settings, client, hasher, admin, rotations, stopping }
    }

    /// Gets a login, watches it, and gets it again, until the agent stops.
    pub async fn run(self) {
        let stopping = self.stopping.clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.for_ever() => {}
        }
    }

    async fn for_ever(mut self) {
        let mut life = Life::default();
        let mut shown = String::new();
        let mut outages = self.client.outages();
        loop {
            outages.mark_unchanged();
            let result = self.step(&mut life).await;
            let wait = match result {
                Ok(Some(login)) => {
                    info!("CouchDB is bootstrapped; the agent works as os_admin.");
                    shown.clear();
                    self.admin.send_replace(AdminLogin::Ready(Arc::clone(&login)));
                    self.serve(login, &mut life, &mut outages).await;
                    continue;
                }
                Ok(None) => continue,
                Err(failed) => {
                    let text = failed.to_string();
                    let wait = wait_after(&failed);
                    if text != shown {
                        warn!(reason = text, "No os_admin login on CouchDB yet.");
                        shown.clone_from(&text);
                        self.admin.send_replace(match wait {
                            Some(_) => AdminLogin::Pending(text),
                            None => AdminLogin::Stuck(text),
                        });
                    }
                    wait
                }
            };
            self.rotations.refuse_all();
            match wait {
                Some(wait) => time::sleep(wait).await,
                None => self.until_changed(&mut life).await,
            }
        }
    }

    /// Watches a login, and changes its password when that is asked for or due, until everything is to be looked at
    /// anew.
    async fn serve(&mut self, mut login: Arc<Login>, life: &mut Life, outages: &mut watch::Receiver<u64>) {
        let mut not_before = time::Instant::now();
        loop {
            let due = self.rotation_due(life, not_before);
            let asked = tokio::select! {
                () = Self::until_refused(&login) => {
                    error!("CouchDB refuses os_admin's password, which it took before.");
                    // One more try: a refusal may have come from somebody in between, or been repaired.
                    *life = Life::default();
                    return;
                }
                // The sender lives in our own client.
                _ = outages.changed() => {
                    life.server_was_away();
                    time::sleep(SERVER_WAIT).await;
                    return;
                }
                answer = self.rotations.next() => Some(answer),
                () = due => None,
            };
            let rotated = match life.credentials() {
                Some(credentials) => self.rotate(&login, credentials).await,
                None => Err((RotationError::NoLogin, Holds::Unknown)),
            };
            let (result, holds) = match rotated {
                Ok((new, credentials)) => {
                    login = Arc::clone(&new);
                    life.rotated(credentials, new);
                    (Ok(()), None)
                }
                Err((error, holds)) => {
                    warn!(%error, "os_admin's password was not changed.");
                    not_before = time::Instant::now() + rotation::TRY_AGAIN;
                    (Err(error), Some(holds))
                }
            };
            if let Some(asked) = asked {
                let _gone = asked.send(result);
            }
            if holds == Some(Holds::Unknown) {
                *life = Life::default();
                return;
            }
        }
    }

    /// Returns when the password has stood for as long as the configuration lets it.
    fn rotation_due(&self, life: &Life, not_before: time::Instant) -> impl Future<Output = ()> + use<> {
        let credentials = life.credentials();
        let due = self.settings.rotate_after.zip(credentials).map(|(after, credentials)| {
            let due = rotation::due_in(credentials.since, after, std::time::SystemTime::now());
            (time::Instant::now() + due).max(not_before)
        });
        async move {
            match due {
                Some(due) => time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// One step; a login when there is nothing left to do.
    async fn step(&self, life: &mut Life) -> Result<Option<Arc<Login>>, BootstrapError> {
        let seen = self.look(life).await?;
        let step = state::next(seen);
        if step != Step::AwaitServer {
            info!(?step, "Bootstrap.");
        }
        match step {
            Step::WriteCredentials => self.write_credentials(life).await?,
            Step::InstallIni => self.install_ini(life).await?,
            Step::AwaitServer => {
                life.server_is_down(seen.ini);
                return Err(BootstrapError::Couch(life.why_down()));
            }
            Step::EndParty => self.end_party(life).await?,
            Step::AskBootstrapAdmin => self.ask_bootstrap_admin(life).await?,
            Step::CreateOsAdmin => self.create_os_admin(life).await?,
            Step::Login => self.log_in(life).await?,
            Step::EnsureDatabases => {
                let login = life.login().ok_or(BootstrapError::Stopping)?;
                self.ensure_databases(&login).await?;
                return Ok(Some(login));
            }
            Step::AwaitRestart => {
                return Err(BootstrapError::Stuck(
                    "os_admin's hash is in CouchDB's local.d, but the running server doesn't have it: restart CouchDB",
                ));
            }
            Step::Blocked => {
                return Err(BootstrapError::Stuck(
                    "CouchDB has an administrator already and the agent has no way to become one: configure \
                     couchdb.bootstrap_admin, or restore the credentials file; or configure couchdb.local_ini_dir, \
                     stop CouchDB, and start it when the agent's ini file is there",
                ));
            }
            Step::Misfit => {
                return Err(BootstrapError::Stuck(
                    "CouchDB has an os_admin whose password is not the credentials file's: restore the file, or set \
                     os_admin's password in CouchDB to the file's, or remove os_admin from CouchDB's [admins] and \
                     from [admins] in its ini files",
                ));
            }
            Step::Overridden => {
                return Err(BootstrapError::Stuck(
                    "os_admin's hash is in the agent's ini file in CouchDB's local.d and CouchDB refuses the password: \
                     another ini file overrides os_admin; remove it there and restart CouchDB",
                ));
            }
        }
        Ok(None)
    }

    async fn until_refused(login: &Login) {
        login.until_refused().await;
        // Whoever changed the password in CouchDB may be about to change the file, too.
        time::sleep(REPAIR).await;
    }

    /// Waits until the operator did something, CouchDB went away, or a good while has passed.
    async fn until_changed(&self, life: &mut Life) {
        let before = self.fingerprint().await;
        let deadline = time::Instant::now() + VERDICT_WAIT;
        loop {
            time::sleep(WATCH).await;
            let now = self.fingerprint().await;
            if now != before || time::Instant::now() > deadline {
                *life = Life::default();
                return;
            }
        }
    }
}

/// How long to wait, or `None` to wait for a change.
fn wait_after(error: &BootstrapError) -> Option<Duration> {
    match error {
        BootstrapError::Couch(CouchError::LockedOut) => Some(LOCKED_WAIT),
        BootstrapError::Couch(CouchError::LoginRefused)
        | BootstrapError::BootstrapAdminRefused(_)
        | BootstrapError::Stuck(_) => None,
        BootstrapError::Credentials(_) | BootstrapError::Ini { .. } => Some(WATCH),
        BootstrapError::Couch(_) | BootstrapError::NoAuthDesign | BootstrapError::Stopping => {
            Some(SERVER_WAIT)
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BootstrapError> {
    system::blocking(work).await.map_err(|_| BootstrapError::Stopping)
}
