//! Changes `os_admin`'s password.

use std::sync::Arc;

use tracing::{info, warn};
use trove_couchdb_guest::{
    credentials::{self, Credentials},
    ini::AdminIni,
};
use trove_couchdb_protocol::Secret;

use super::{
    Bootstrap, BootstrapError, RotationError,
    error::blocking,
    observations::Holds,
    observe::{OS_ADMIN_SHA1_ITERATIONS, ini_error},
    rotation::{DRAIN, Rotated},
};
use crate::couch::{AdminLogin, ConfigRoot, CouchError, Login, ServerVersion};

impl Bootstrap {
    /// Changes the password in the file, in CouchDB and in the ini file.
    pub(super) async fn rotate(
        &self,
        old: &Arc<Login>,
        credentials: &Credentials,
    ) -> Result<Rotated, (RotationError, Holds)> {
        let still = |error: BootstrapError| (RotationError::Failed(error.to_string()), Holds::Old);
        let (version, config) = self.server(Some(old)).await.map_err(still)?;
        let both = credentials.with_next();
        let Some(next) = both.next.clone() else {
            return Err((RotationError::stopping(), Holds::Old));
        };
        self.store(&both).await.map_err(still)?;

        let Some(drain) = old.retire(DRAIN).await else {
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
                let error = self.put_back(error, version, &config, &both, credentials).await;
                // Stop using the old password as well: five refusals lock the account.
                let why = "os_admin's password was being changed; which one CouchDB took is found out";
                self.admin.send_replace(AdminLogin::Pending(why.to_owned()));
                drain.complete();
                return Err((RotationError::Failed(error.to_string()), Holds::Unknown));
            }
        };
        self.admin.send_replace(AdminLogin::Ready(Arc::clone(&login)));
        drain.complete();

        // If this fails, the file keeps both passwords until the agent logs in again.
        let promoted = both.promoted();
        if let Err(error) = self.store(&promoted).await {
            warn!(%error, "os_admin's password was changed, and not everything on the disk follows yet.");
        }
        let followed = self.ini_follows(&next).await;
        info!("os_admin's password was changed.");
        Ok(Rotated { login, credentials: promoted, followed: followed.map_err(RotationError::ini_is_behind) })
    }

    /// A CouchDB that cannot write its configuration keeps the new password in memory only, and reads the old
    /// one after a restart. So the agent restores the old password in CouchDB and removes the new one from
    /// the file.
    async fn put_back(
        &self,
        error: BootstrapError,
        version: ServerVersion,
        config: &ConfigRoot,
        both: &Credentials,
        credentials: &Credentials,
    ) -> BootstrapError {
        let BootstrapError::Couch(CouchError::ConfigNotWritten(why)) = error else { return error };
        let put_back = async {
            let next = both.next.as_ref().ok_or(BootstrapError::Stopping)?;
            // CouchDB refuses the new password if it never stored it. Then the old one is still valid.
            let login = self.try_password(next).await?;
            if let Some(login) = &login {
                match self.put_os_admin(Some(login), version, config, &credentials.password).await {
                    Ok(()) | Err(BootstrapError::Couch(CouchError::ConfigNotWritten(_))) => {}
                    Err(error) => return Err(error),
                }
            }
            self.try_password(&credentials.password).await?.ok_or(BootstrapError::Stopping)?;
            self.store(credentials).await
        };
        let stands = match put_back.await {
            Ok(()) => "os_admin keeps its password",
            Err(_) => {
                "the credentials file holds both passwords: CouchDB has the old one after its next restart"
            }
        };
        CouchError::ConfigNotWritten(format!("{why}; {stands}")).into()
    }

    pub(super) async fn store(&self, credentials: &Credentials) -> Result<(), BootstrapError> {
        let (path, credentials) = (self.settings.credentials_file.clone(), credentials.clone());
        Ok(blocking(move || credentials::store(&path, &credentials)).await??)
    }

    /// Updates the ini file if it names `os_admin`: CouchDB would otherwise read the old password at its next
    /// start.
    pub(super) async fn ini_follows(&self, password: &Secret) -> Result<(), BootstrapError> {
        let Some(directory) = &self.settings.local_ini_dir else { return Ok(()) };
        let (ini, password) = (AdminIni::in_directory(directory), password.clone());
        let path = ini.path().to_owned();
        let followed = blocking(move || ini.follow(&password, OS_ADMIN_SHA1_ITERATIONS)).await?;
        followed.map_err(ini_error(&path))
    }
}
