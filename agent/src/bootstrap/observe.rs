//! Collects the input of [`super::state`], and carries out its steps.

use std::{path::Path, time::Duration};

use serde_json::Value;
use tokio::time;
use tracing::warn;
use trove_couchdb_guest::{credentials, ini::AdminIni};
use trove_couchdb_protocol::Secret;

use super::{
    Bootstrap, BootstrapError,
    error::blocking,
    observations::Observations,
    state::{BootstrapAdmin, File, Ini, LoginTried, Server, Snapshot},
};
use crate::couch::{
    ConfigRoot, CouchError, Login, Method, PasswordHash, Prf, Resource, Rounds, ServerAdmin, ServerVersion,
    Session, SystemDatabase, close_system_databases, config_root,
};

/// CouchDB needs up to five seconds to add the design document to a new `_users`.
const AUTH_DESIGN_WAIT: Duration = Duration::from_secs(30);
const AUTH_DESIGN_POLL: Duration = Duration::from_millis(250);

/// Few rounds suffice, because the password has 256 random bits.
pub(super) const OS_ADMIN_SHA1_ITERATIONS: u32 = 10;

impl Bootstrap {
    /// Collects everything that decides the next step.
    pub(super) async fn look(&self, observations: &mut Observations) -> Result<Snapshot, BootstrapError> {
        let path = self.settings.credentials_file.clone();
        observations.credentials = blocking(move || credentials::load(&path)).await??;
        let server = self.look_at_server(observations).await?;
        Ok(Snapshot {
            file: match (&observations.credentials, observations.file_is_new) {
                (None, _) => File::Missing,
                (Some(_), true) => File::New,
                (Some(_), false) => File::Existing,
            },
            server,
            login: match observations.tried {
                None => LoginTried::No,
                Some(true) => LoginTried::Accepted,
                Some(false) => LoginTried::Refused,
            },
            bootstrap_admin: match &self.settings.bootstrap_admin {
                None => BootstrapAdmin::None,
                Some(_) => observations.bootstrap_admin.unwrap_or(BootstrapAdmin::Unasked),
            },
            ini: self.look_at_ini(observations).await?,
        })
    }

    async fn look_at_server(&self, observations: &mut Observations) -> Result<Server, BootstrapError> {
        match self.client.send(None, Method::GET, &Resource::Session, None).await {
            Ok(session) => {
                let party = Session::from_answer(session)?.is_admin();
                Ok(if party { Server::Party } else { Server::Closed })
            }
            // With require_valid_user every request needs a password.
            Err(CouchError::Unauthorized) => Ok(Server::Closed),
            Err(error @ CouchError::Unreachable { .. }) => {
                observations.down = Some(error);
                Ok(Server::Down)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn look_at_ini(&self, observations: &Observations) -> Result<Ini, BootstrapError> {
        let Some(directory) = &self.settings.local_ini_dir else {
            return Ok(Ini::NoDirectory);
        };
        let ini = AdminIni::in_directory(directory);
        let (path, password) = (ini.path().to_owned(), observations.password().cloned());
        let found = blocking(move || ini.look(password.as_ref())).await?.map_err(ini_error(&path))?;
        let in_vain =
            found == Ini::Installed && observations.started_with_ini && observations.tried == Some(false);
        Ok(if in_vain { Ini::Overridden } else { found })
    }

    pub(super) async fn write_credentials(
        &self,
        observations: &mut Observations,
    ) -> Result<(), BootstrapError> {
        let path = self.settings.credentials_file.clone();
        observations.credentials = Some(blocking(move || credentials::generate(&path)).await??);
        observations.file_is_new = true;
        Ok(())
    }

    pub(super) async fn install_ini(&self, observations: &mut Observations) -> Result<(), BootstrapError> {
        let (Some(directory), Some(password)) =
            (&self.settings.local_ini_dir, observations.password().cloned())
        else {
            return Ok(());
        };
        let ini = AdminIni::in_directory(directory);
        let path = ini.path().to_owned();
        let installed = blocking(move || ini.install(&password, OS_ADMIN_SHA1_ITERATIONS)).await?;
        installed.map_err(ini_error(&path))
    }

    pub(super) async fn end_party(&self, observations: &mut Observations) -> Result<(), BootstrapError> {
        let (version, config) = self.server(None).await?;
        self.set_os_admin(None, version, &config, observations).await
    }

    pub(super) async fn ask_bootstrap_admin(
        &self,
        observations: &mut Observations,
    ) -> Result<(), BootstrapError> {
        observations.bootstrap_admin = Some(match self.does_bootstrap_admin_see_os_admin().await {
            Ok(Some(true)) => BootstrapAdmin::SeesOsAdmin,
            Ok(Some(false)) => BootstrapAdmin::SeesNoOsAdmin,
            Ok(None) => BootstrapAdmin::None,
            // Another way may exist: CouchDB or an ini file may already have os_admin.
            Err(refused @ BootstrapError::BootstrapAdminRefused(_)) if observations.credentials.is_some() => {
                warn!(%refused, "Going on without it.");
                BootstrapAdmin::Refused
            }
            Err(error) => return Err(error),
        });
        Ok(())
    }

    async fn does_bootstrap_admin_see_os_admin(&self) -> Result<Option<bool>, BootstrapError> {
        let Some(login) = self.bootstrap_login().await? else { return Ok(None) };
        let (_, config) = self.server(Some(&login)).await?;
        let resource = Resource::Admin(&config, ServerAdmin::OsAdmin);
        match self.client.send(Some(&login), Method::GET, &resource, None).await {
            Ok(_) => Ok(Some(true)),
            Err(CouchError::NotFound(_)) => Ok(Some(false)),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn create_os_admin(
        &self,
        observations: &mut Observations,
    ) -> Result<(), BootstrapError> {
        let Some(login) = self.bootstrap_login().await? else {
            return Ok(());
        };
        let (version, config) = self.server(Some(&login)).await?;
        self.set_os_admin(Some(&login), version, &config, observations).await?;
        observations.bootstrap_admin = Some(BootstrapAdmin::SeesOsAdmin);
        observations.tried = None;
        Ok(())
    }

    /// Sends a finished hash, because CouchDB hashes a plain password only some time after it answers.
    ///
    /// Servers before 3.4 hash the password at every request, so they get as few rounds as the ini file.
    async fn set_os_admin(
        &self,
        login: Option<&Login>,
        version: ServerVersion,
        config: &ConfigRoot,
        observations: &Observations,
    ) -> Result<(), BootstrapError> {
        if let Some(password) = observations.password() {
            self.put_os_admin(login, version, config, password).await?;
            // CouchDB may have refused this password while it had no os_admin or a different one.
            self.server_forgets().await?;
        }
        Ok(())
    }

    pub(super) async fn put_os_admin(
        &self,
        login: Option<&Login>,
        version: ServerVersion,
        config: &ConfigRoot,
        password: &Secret,
    ) -> Result<(), BootstrapError> {
        let hash = if version.takes_sha256() {
            let rounds = self.rounds(login, config).await?;
            self.hasher.hash(password, version, rounds).await.ok_or(BootstrapError::Stopping)?
        } else {
            PasswordHash::with_fresh_salt(password, Prf::Sha1, OS_ADMIN_SHA1_ITERATIONS)
        };
        let resource = Resource::AdminHash(config, ServerAdmin::OsAdmin);
        let value = Value::from(hash.admin_value());
        self.client.send(login, Method::PUT, &resource, Some(&value)).await?;
        Ok(())
    }

    /// Creates the system databases, which a fresh node lacks, and waits for the design document of `_users`.
    /// Without that document a mistaken write to `_users` can create a server administrator.
    pub(super) async fn ensure_databases(&self, login: &Login) -> Result<(), BootstrapError> {
        for system in [SystemDatabase::Users, SystemDatabase::Replicator] {
            match self.client.send(Some(login), Method::PUT, &Resource::System(system), None).await {
                Ok(_) | Err(CouchError::Exists) => {}
                Err(error) => return Err(error.into()),
            }
        }
        close_system_databases(&self.client, login).await?;
        let deadline = time::Instant::now() + AUTH_DESIGN_WAIT;
        loop {
            match self.client.send(Some(login), Method::GET, &Resource::UsersAuthDesign, None).await {
                Ok(_) => break,
                Err(CouchError::NotFound(_)) if time::Instant::now() < deadline => {
                    time::sleep(AUTH_DESIGN_POLL).await;
                }
                Err(CouchError::NotFound(_)) => return Err(BootstrapError::NoAuthDesign),
                Err(error) => return Err(error.into()),
            }
        }
        if self.settings.require_valid_user {
            let (version, config) = self.server(Some(login)).await?;
            let resource = Resource::RequireValidUser(&config, version.require_valid_user_section());
            self.client.send(Some(login), Method::PUT, &resource, Some(&Value::from("true"))).await?;
        }
        Ok(())
    }

    /// Reads how many rounds a hash must have for this server to accept it. The first section takes
    /// precedence.
    async fn rounds(&self, login: Option<&Login>, config: &ConfigRoot) -> Result<Rounds, BootstrapError> {
        let mut limits = [None, None];
        for (limit, key) in limits.iter_mut().zip(["min_iterations", "max_iterations"]) {
            for section in ["chttpd_auth", "couch_httpd_auth"] {
                let setting = Resource::Setting(config, section, key);
                match self.client.send(login, Method::GET, &setting, None).await {
                    Ok(value) if limit.is_none() => {
                        *limit = value.as_str().and_then(|text| text.trim().parse().ok());
                    }
                    Ok(_) | Err(CouchError::NotFound(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let [min, max] = limits;
        Ok(Rounds { wanted: None, min, max })
    }

    pub(super) async fn server(
        &self,
        login: Option<&Login>,
    ) -> Result<(ServerVersion, ConfigRoot), BootstrapError> {
        let welcome = self.client.send(login, Method::GET, &Resource::Welcome, None).await?;
        let version = ServerVersion::from_welcome(welcome)?;
        Ok((version, config_root(&self.client, login, version).await?))
    }
}

pub(super) fn ini_error(path: &Path) -> impl FnOnce(std::io::Error) -> BootstrapError {
    let path = path.display().to_string();
    move |source| BootstrapError::Ini { path, source }
}
