//! Detects whether a refused login is worth another try: files on this machine changed, or CouchDB was
//! restarted.

use std::time::Duration;

use tracing::{debug, warn};
use trove_couchdb_guest::refusals::{self, Circumstances};
use trove_couchdb_protocol::Secret;

use super::{Bootstrap, BootstrapError, error::blocking};
use crate::couch::{CouchError, Method, Resource};

/// Changes when the operator modifies the credentials or the ini files, or when CouchDB stops or starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    circumstances: Circumstances,
    server_is_up: bool,
}

impl Bootstrap {
    /// Reads the current fingerprint.
    pub(super) async fn fingerprint(&self) -> Result<Fingerprint, BootstrapError> {
        let asked = self.client.send(None, Method::GET, &Resource::Session, None).await;
        let server_is_up = !matches!(asked, Err(CouchError::Unreachable { .. }));
        Ok(Fingerprint { circumstances: self.circumstances().await?, server_is_up })
    }

    pub(super) async fn circumstances(&self) -> Result<Circumstances, BootstrapError> {
        let settings = self.settings.clone();
        blocking(move || Circumstances::look(&settings)).await
    }

    /// How long this password must not be sent, because CouchDB refused it recently.
    pub(super) async fn barred(
        &self,
        account: &str,
        password: &Secret,
    ) -> Result<Option<Duration>, BootstrapError> {
        let (now, directory) = (self.circumstances().await?, self.state_dir.clone());
        let (account, password) = (account.to_owned(), password.clone());
        blocking(move || refusals::barred(&directory, &now, &account, &password)).await
    }

    /// Records a refusal for later runs of the agent.
    pub(super) async fn was_refused(
        &self,
        account: &str,
        password: Option<&Secret>,
    ) -> Result<(), BootstrapError> {
        let (now, directory) = (self.circumstances().await?, self.state_dir.clone());
        let (account, password) = (account.to_owned(), password.cloned());
        let noted = blocking(move || refusals::note(&directory, &now, &account, password.as_ref())).await?;
        if let Err(error) = noted {
            warn!(%error, "A refused login can't be noted in the state directory: a restarted agent tries it again.");
        }
        Ok(())
    }

    /// Deletes the recorded refusals. CouchDB loses its own count when it stops.
    pub(super) async fn server_forgets(&self) -> Result<(), BootstrapError> {
        let directory = self.state_dir.clone();
        if let Err(error) = blocking(move || refusals::forget(&directory)).await? {
            debug!(%error, "What was refused could not be forgotten.");
        }
        Ok(())
    }
}
