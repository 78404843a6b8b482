//! Bootstrap's eyes and hands: what [`super::state`] decides on, and the steps that it names.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::time;
use tracing::warn;
use trove_couchdb_protocol::Secret;

use super::{
    Bootstrap, BootstrapError, blocking,
    credentials::{self, Credentials},
    ini::AdminIni,
    state::{BootstrapAdmin, File, Ini, LoginTried, Seen, Server},
};
use crate::couch::{
    ConfigRoot, CouchError, Login, Method, PasswordHash, Prf, Resource, ServerAdmin, ServerVersion,
    SystemDatabase, config_root,
};

/// CouchDB needs up to five seconds to guard a new `_users`.
const AUTH_DESIGN_WAIT: Duration = Duration::from_secs(30);
const AUTH_DESIGN_POLL: Duration = Duration::from_millis(250);

/// Rounds for the one password that has 256 random bits.
pub(super) const OS_ADMIN_SHA1_ITERATIONS: u32 = 10;

/// What one life of the agent, or of the server, has learned.
#[derive(Debug, Default)]
pub(super) struct Life {
    credentials: Option<Credentials>,
    login: Option<Arc<Login>>,
    tried: Option<bool>,
    bootstrap_admin: Option<BootstrapAdmin>,
    down: Option<CouchError>,
    /// The credentials file was written, and no server has shown that it knows the password.
    file_is_new: bool,
    /// CouchDB was down while the ini file held the password's hash.
    started_with_ini: bool,
}

impl Life {
    /// The login that was accepted.
    pub(super) fn login(&self) -> Option<Arc<Login>> {
        self.login.clone()
    }

    /// A server that comes back may have another configuration.
    pub(super) fn server_was_away(&mut self) {
        (self.tried, self.login, self.bootstrap_admin) = (None, None, None);
    }

    /// When the server comes back it has read the ini file.
    pub(super) fn server_is_down(&mut self, ini: Ini) {
        self.server_was_away();
        self.started_with_ini = ini == Ini::Installed;
    }

    /// Another password was set, and logs in.
    pub(super) fn rotated(&mut self, credentials: Credentials, login: Arc<Login>) {
        (self.credentials, self.login) = (Some(credentials), Some(login));
    }

    /// What the credentials file holds.
    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    fn password(&self) -> Option<&Secret> {
        self.credentials.as_ref().map(|credentials| &credentials.password)
    }

    /// Why the server did not answer.
    pub(super) fn why_down(&self) -> CouchError {
        self.down.clone().unwrap_or(CouchError::NotBootstrapped("CouchDB is down".to_owned()))
    }
}

/// Changes when the operator touches the credentials or the ini file, or when CouchDB goes away.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    credentials: Option<std::time::SystemTime>,
    ini: Option<std::time::SystemTime>,
    server_is_up: bool,
}

impl Bootstrap {
    /// Looks at everything that decides.
    pub(super) async fn look(&self, life: &mut Life) -> Result<Seen, BootstrapError> {
        let path = self.settings.credentials_file.clone();
        life.credentials = blocking(move || credentials::load(&path)).await??;
        let server = self.look_at_server(life).await?;
        Ok(Seen {
            file: match (&life.credentials, life.file_is_new) {
                (None, _) => File::Missing,
                (Some(_), true) => File::New,
                (Some(_), false) => File::Kept,
            },
            server,
            login: match life.tried {
                None => LoginTried::No,
                Some(true) => LoginTried::Accepted,
                Some(false) => LoginTried::Refused,
            },
            bootstrap_admin: match &self.settings.bootstrap_admin {
                None => BootstrapAdmin::None,
                Some(_) => life.bootstrap_admin.unwrap_or(BootstrapAdmin::Unasked),
            },
            ini: self.look_at_ini(life).await?,
        })
    }

    async fn look_at_server(&self, life: &mut Life) -> Result<Server, BootstrapError> {
        match self.client.send(None, Method::GET, &Resource::Session, None).await {
            Ok(session) => {
                let roles = session["userCtx"]["roles"].as_array();
                let party = roles.is_some_and(|roles| roles.iter().any(|role| role == "_admin"));
                Ok(if party { Server::Party } else { Server::Closed })
            }
            // require_valid_user: nobody gets in without a password.
            Err(CouchError::Unauthorized) => Ok(Server::Closed),
            Err(error @ CouchError::Unreachable { .. }) => {
                life.down = Some(error);
                Ok(Server::Down)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn look_at_ini(&self, life: &Life) -> Result<Ini, BootstrapError> {
        let Some(directory) = &self.settings.local_ini_dir else {
            return Ok(Ini::NoDirectory);
        };
        let ini = AdminIni::in_directory(directory);
        let (path, password) = (ini.path().to_owned(), life.password().cloned());
        let found = blocking(move || ini.look(password.as_ref())).await?.map_err(ini_error(&path))?;
        let in_vain = found == Ini::Installed && life.started_with_ini && life.tried == Some(false);
        Ok(if in_vain { Ini::Overridden } else { found })
    }

    /// What a waiting operator may change.
    pub(super) async fn fingerprint(&self) -> Fingerprint {
        let modified = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let welcome = self.client.send(None, Method::GET, &Resource::Session, None).await;
        Fingerprint {
            credentials: modified(&self.settings.credentials_file),
            ini: self
                .settings
                .local_ini_dir
                .as_deref()
                .and_then(|directory| modified(AdminIni::in_directory(directory).path())),
            server_is_up: !matches!(welcome, Err(CouchError::Unreachable { .. })),
        }
    }

    pub(super) async fn write_credentials(&self, life: &mut Life) -> Result<(), BootstrapError> {
        let path = self.settings.credentials_file.clone();
        life.credentials = Some(blocking(move || credentials::generate(&path)).await??);
        life.file_is_new = true;
        Ok(())
    }

    pub(super) async fn install_ini(&self, life: &mut Life) -> Result<(), BootstrapError> {
        let (Some(directory), Some(password)) = (&self.settings.local_ini_dir, life.password().cloned())
        else {
            return Ok(());
        };
        let ini = AdminIni::in_directory(directory);
        let path = ini.path().to_owned();
        let installed = blocking(move || ini.install(&password, OS_ADMIN_SHA1_ITERATIONS)).await?;
        installed.map_err(ini_error(&path))
    }

    pub(super) async fn end_party(&self, life: &mut Life) -> Result<(), BootstrapError> {
        let (version, config) = self.server(None).await?;
        self.set_os_admin(None, version, &config, life).await
    }

    pub(super) async fn ask_bootstrap_admin(&self, life: &mut Life) -> Result<(), BootstrapError> {
        let Some(login) = self.bootstrap_login() else {
            return Ok(());
        };
        life.bootstrap_admin = Some(match self.as_bootstrap_admin(self.has_os_admin(&login).await) {
            Ok(true) => BootstrapAdmin::SeesOsAdmin,
            Ok(false) => BootstrapAdmin::SeesNoOsAdmin,
            // There may be another way: os_admin may be there already, or in the ini file.
            Err(refused @ BootstrapError::BootstrapAdminRefused(_)) if life.credentials.is_some() => {
                warn!(%refused, "Going on without it.");
                BootstrapAdmin::Refused
            }
            Err(error) => return Err(error),
        });
        Ok(())
    }

    async fn has_os_admin(&self, login: &Login) -> Result<bool, BootstrapError> {
        let (_, config) = self.server(Some(login)).await?;
        let resource = Resource::Admin(&config, ServerAdmin::OsAdmin);
        match self.client.send(Some(login), Method::GET, &resource, None).await {
            Ok(_) => Ok(true),
            Err(CouchError::NotFound(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn create_os_admin(&self, life: &mut Life) -> Result<(), BootstrapError> {
        let Some(login) = self.bootstrap_login() else {
            return Ok(());
        };
        let (version, config) = self.as_bootstrap_admin(self.server(Some(&login)).await)?;
        self.set_os_admin(Some(&login), version, &config, life).await?;
        life.bootstrap_admin = Some(BootstrapAdmin::SeesOsAdmin);
        life.tried = None;
        Ok(())
    }

    /// A ready hash: CouchDB would hash a plain password some time after it answered.
    ///
    /// Servers before 3.4 hash anew at every request, so they get as few rounds as in the ini file.
    async fn set_os_admin(
        &self,
        login: Option<&Login>,
        version: ServerVersion,
        config: &ConfigRoot,
        life: &Life,
    ) -> Result<(), BootstrapError> {
        match life.password() {
            Some(password) => self.put_os_admin(login, version, config, password).await,
            None => Ok(()),
        }
    }

    pub(super) async fn put_os_admin(
        &self,
        login: Option<&Login>,
        version: ServerVersion,
        config: &ConfigRoot,
        password: &Secret,
    ) -> Result<(), BootstrapError> {
        let hash = if version.takes_sha256() {
            self.hasher.hash(password, version).await.ok_or(BootstrapError::Stopping)?
        } else {
            PasswordHash::with_fresh_salt(password, Prf::Sha1, OS_ADMIN_SHA1_ITERATIONS)
        };
        let resource = Resource::AdminHash(config, ServerAdmin::OsAdmin);
        let value = Value::from(hash.admin_value());
        self.client.send(login, Method::PUT, &resource, Some(&value)).await?;
        Ok(())
    }

    /// Tries the file's password, once; and if it was being changed when the agent died, the coming one, once.
    pub(super) async fn log_in(&self, life: &mut Life) -> Result<(), BootstrapError> {
        let Some(credentials) = life.credentials.clone() else {
            return Ok(());
        };
        let mut accepted = self.try_password(&credentials.password).await?;
        let mut settled = credentials.clone().settled();
        if let (None, Some(next)) = (&accepted, &credentials.next) {
            // Killed here over and over, the agent must not have the old one refused each time: five lock the account.
            let turned = credentials.clone().turned();
            self.store(&turned).await?;
            life.credentials = Some(turned.clone());
            accepted = self.try_password(next).await?;
            settled = turned.settled();
        }
        if accepted.is_some() && credentials.next.is_some() {
            self.store(&settled).await?;
            life.credentials = Some(settled);
        }
        life.tried = Some(accepted.is_some());
        life.file_is_new &= accepted.is_none();
        life.login = accepted;
        Ok(())
    }

    /// A login that CouchDB takes for a server administrator's; `None` if it refuses the password.
    pub(super) async fn try_password(&self, password: &Secret) -> Result<Option<Arc<Login>>, BootstrapError> {
        let login = Login::new(ServerAdmin::OsAdmin.as_str(), password);
        match self.client.send(Some(&login), Method::GET, &Resource::Session, None).await {
            Ok(session) => {
                let roles = session["userCtx"]["roles"].as_array();
                let is_admin = roles.is_some_and(|roles| roles.iter().any(|role| role == "_admin"));
                Ok(is_admin.then(|| Arc::new(login)))
            }
            Err(CouchError::LoginRefused) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A fresh node has neither database, and an unguarded `_users` lets an admin's slip become a server admin.
    pub(super) async fn ensure_databases(&self, login: &Login) -> Result<(), BootstrapError> {
        for system in [SystemDatabase::Users, SystemDatabase::Replicator] {
            match self.client.send(Some(login), Method::PUT, &Resource::System(system), None).await {
                Ok(_) | Err(CouchError::Exists) => {}
                Err(error) => return Err(error.into()),
            }
        }
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

    pub(super) async fn server(
        &self,
        login: Option<&Login>,
    ) -> Result<(ServerVersion, ConfigRoot), BootstrapError> {
        let welcome = self.client.send(login, Method::GET, &Resource::Welcome, None).await?;
        let version = ServerVersion::from_welcome(welcome)?;
        Ok((version, config_root(&self.client, login, version).await?))
    }

    fn bootstrap_login(&self) -> Option<Login> {
        let (name, password) = self.settings.bootstrap_admin.as_ref()?;
        Some(Login::new(name, password))
    }

    fn as_bootstrap_admin<T>(&self, result: Result<T, BootstrapError>) -> Result<T, BootstrapError> {
        result.map_err(|error| match (error, &self.settings.bootstrap_admin) {
            (BootstrapError::Couch(CouchError::LoginRefused), Some((name, _))) => {
                BootstrapError::BootstrapAdminRefused(name.clone())
            }
            (error, _) => error,
        })
    }
}

pub(super) fn ini_error(path: &Path) -> impl FnOnce(std::io::Error) -> BootstrapError {
    let path = path.display().to_string();
    move |source| BootstrapError::Ini { path, source }
}
