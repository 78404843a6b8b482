//! The bootstrap task: gets a login step by step, and then watches it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use trove_couchdb_config::CouchSettings;
use trove_couchdb_guest::refusals::WINDOW;

use super::{
    BootstrapError, RotationError, RotationRequests,
    error::{SERVER_WAIT, WATCH},
    observations::{Holds, Observations},
    rotation::{self, Rotated},
    state::{self, BootstrapStep, File},
};
use crate::couch::{AdminLogin, Client, Hasher, Login, ServerAdmin};

/// The pause between a refusal and the single retry.
const REPAIR: Duration = Duration::from_secs(1);

/// The bootstrap task.
#[derive(Debug)]
pub struct Bootstrap {
    pub(super) settings: CouchSettings,
    /// Where refused passwords are recorded.
    pub(super) state_dir: PathBuf,
    pub(super) client: Client,
    pub(super) hasher: Hasher,
    pub(super) admin: watch::Sender<AdminLogin>,
    stopping: CancellationToken,
}

impl Bootstrap {
    /// Creates the task. It does nothing until it runs.
    pub fn new(
        settings: CouchSettings,
        state_dir: PathBuf,
        client: Client,
        hasher: Hasher,
        admin: watch::Sender<AdminLogin>,
        stopping: CancellationToken,
    ) -> Self {
        Self { settings, state_dir, client, hasher, admin, stopping }
    }

    /// Gets a login, watches it, and gets it again when it is lost, until the agent stops.
    pub async fn run(self, rotations: RotationRequests) {
        let stopping = self.stopping.clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.for_ever(rotations) => {}
        }
    }

    async fn for_ever(self, mut rotations: RotationRequests) {
        let mut observations = Observations::default();
        let mut shown = String::new();
        let mut outages = self.client.outages();
        loop {
            outages.mark_unchanged();
            let result = tokio::select! {
                result = self.step(&mut observations) => result,
                never = rotations.refuse_all() => match never {},
            };
            let wait = match result {
                Ok(Some(login)) => {
                    info!("CouchDB is bootstrapped; the agent works as os_admin.");
                    shown.clear();
                    self.admin.send_replace(AdminLogin::Ready(Arc::clone(&login)));
                    self.serve(login, &mut observations, &mut outages, &mut rotations).await;
                    continue;
                }
                Ok(None) => continue,
                Err(failed) => {
                    let text = failed.to_string();
                    if text != shown {
                        warn!(reason = text, "No os_admin login on CouchDB yet.");
                        shown.clone_from(&text);
                        self.admin.send_replace(match &failed {
                            BootstrapError::Impaired(degraded) => AdminLogin::Impaired(degraded.clone()),
                            failed if failed.needs_operator() => AdminLogin::Stuck(text),
                            _ => AdminLogin::Pending(text),
                        });
                    }
                    failed.wait()
                }
            };
            tokio::select! {
                () = self.pause(wait, &mut observations) => {}
                never = rotations.refuse_all() => match never {},
            }
        }
    }

    async fn pause(&self, wait: Option<Duration>, observations: &mut Observations) {
        match wait {
            Some(wait) => time::sleep(wait).await,
            None => self.until_changed(observations).await,
        }
    }

    /// Watches a login and changes its password on request or when due. Returns when bootstrap has to start
    /// over.
    async fn serve(
        &self,
        mut login: Arc<Login>,
        observations: &mut Observations,
        outages: &mut watch::Receiver<u64>,
        rotations: &mut RotationRequests,
    ) {
        let mut not_before = time::Instant::now();
        loop {
            let due = self.rotation_due(observations, not_before);
            let asked = tokio::select! {
                () = Self::until_refused(&login) => {
                    error!("CouchDB refuses os_admin's password, which it took before.");
                    // Record the refusal without the password, so that the single retry stays possible.
                    if let Err(error) = self.was_refused(ServerAdmin::OsAdmin.as_str(), None).await {
                        warn!(%error, "A refusal was not noted.");
                    }
                    // Retry once: the refusal may have come from a proxy, or the cause may be repaired.
                    *observations = Observations::default();
                    return;
                }
                // `self.client` owns the sender, so this cannot fail.
                _ = outages.changed() => {
                    observations.server_was_away();
                    time::sleep(SERVER_WAIT).await;
                    return;
                }
                asked = rotations.next() => asked,
                () = due => {
                    rotations.are_due();
                    not_before = time::Instant::now() + rotation::TRY_AGAIN;
                    continue;
                }
            };
            let rotated = match observations.credentials() {
                Some(credentials) => self.rotate(&login, credentials).await,
                None => {
                    Err((RotationError::no_login("its credentials are not known any more"), Holds::Unknown))
                }
            };
            let (result, holds) = match rotated {
                Ok(Rotated { login: new, credentials, followed }) => {
                    login = Arc::clone(&new);
                    observations.rotated(credentials, new);
                    if let Err(error) = &followed {
                        warn!(%error, "os_admin's password was changed, and the ini file has the old one.");
                        not_before = time::Instant::now() + rotation::TRY_AGAIN;
                    }
                    (followed, None)
                }
                Err((error, holds)) => {
                    warn!(%error, "os_admin's password was not changed.");
                    not_before = time::Instant::now() + rotation::TRY_AGAIN;
                    (Err(error), Some(holds))
                }
            };
            let _gone = asked.send(result);
            if holds == Some(Holds::Unknown) {
                *observations = Observations::default();
                return;
            }
        }
    }

    /// Returns when the password has reached its maximum age.
    fn rotation_due(
        &self,
        observations: &Observations,
        not_before: time::Instant,
    ) -> impl Future<Output = ()> + use<> {
        let credentials = observations.credentials();
        let due = self.settings.rotate_os_admin_after.zip(credentials).map(|(after, credentials)| {
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

    /// Does one step. Returns the login when nothing is left to do.
    async fn step(&self, observations: &mut Observations) -> Result<Option<Arc<Login>>, BootstrapError> {
        let seen = self.look(observations).await?;
        let step = state::next(seen);
        if observations.is_new(step) {
            info!(?step, "Bootstrap.");
        }
        match step {
            BootstrapStep::WriteCredentials => self.write_credentials(observations).await?,
            BootstrapStep::InstallIni => self.install_ini(observations).await?,
            BootstrapStep::AwaitServer => {
                observations.server_is_down(seen.ini);
                self.server_forgets().await?;
                return Err(BootstrapError::Couch(observations.why_down()));
            }
            BootstrapStep::EndParty => self.end_party(observations).await?,
            BootstrapStep::AskBootstrapAdmin => self.ask_bootstrap_admin(observations).await?,
            BootstrapStep::CreateOsAdmin => self.create_os_admin(observations).await?,
            BootstrapStep::Login => self.log_in(observations).await?,
            BootstrapStep::EnsureDatabases => {
                let login = observations.login().ok_or(BootstrapError::Stopping)?;
                return match self.ensure_databases(&login).await {
                    Ok(()) => Ok(Some(login)),
                    Err(error) => Err(self.explained(login, error).await),
                };
            }
            BootstrapStep::AwaitRestart => {
                return Err(BootstrapError::Stuck(
                    "os_admin's hash is in CouchDB's local.d, but the running server doesn't have it: restart CouchDB",
                ));
            }
            BootstrapStep::Blocked => {
                return Err(BootstrapError::Stuck(
                    "CouchDB has an administrator already and the agent has no way to become one: configure \
                     couchdb.bootstrap_admin, or restore the credentials file; or configure couchdb.local_ini_dir, \
                     stop CouchDB, and start it when the agent's ini file is there",
                ));
            }
            BootstrapStep::CredentialsMismatch if seen.file == File::Missing => {
                return Err(BootstrapError::Stuck(
                    "CouchDB has an os_admin, and there is no credentials file with its password: restore the file, or \
                     remove os_admin from CouchDB's [admins] and from [admins] in its ini files",
                ));
            }
            BootstrapStep::CredentialsMismatch => {
                return Err(BootstrapError::Stuck(
                    "CouchDB has an os_admin whose password is not the credentials file's: restore the file, or set \
                     os_admin's password in CouchDB to the file's and `touch` the file, or remove os_admin from CouchDB's \
                     [admins] and from [admins] in its ini files",
                ));
            }
            BootstrapStep::Refused => {
                return Err(BootstrapError::Stuck(
                    "CouchDB refuses the name or the password of the credentials file (401), and does not say which: \
                     os_admin's password was changed, or os_admin was removed. Either restore the file, or give \
                     CouchDB an os_admin with the file's password and `touch` the file, or restart CouchDB if its ini files \
                     are right: the password is tried again when one of these happens, and every 5 minutes",
                ));
            }
            BootstrapStep::Overridden => {
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
        // An operator who changed the password in CouchDB may be about to change the file, too.
        time::sleep(REPAIR).await;
    }

    /// Waits until the operator changes something, CouchDB stops or starts, or the waiting time has passed.
    async fn until_changed(&self, observations: &mut Observations) {
        let deadline = time::Instant::now() + observations.again().unwrap_or(WINDOW);
        let before = self.fingerprint().await.ok();
        while time::Instant::now() < deadline {
            time::sleep(WATCH).await;
            if self.fingerprint().await.ok() != before {
                break;
            }
        }
        *observations = Observations::default();
    }
}
