//! How `os_admin`'s password is changed.

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
    life::Holds,
    observe::{OS_ADMIN_SHA1_ITERATIONS, ini_error},
    rotation::DRAIN,
};
use crate::couch::{AdminLogin, CouchError, Login};

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
            return Err((RotationError::stopping(), Holds::Old));
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
