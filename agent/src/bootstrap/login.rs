//! Logs in as rarely as possible: a wrong password counts towards CouchDB's lockout.

use std::sync::Arc;

use trove_couchdb_guest::refusals::WINDOW;
use trove_couchdb_protocol::Secret;

use super::{Bootstrap, BootstrapError, observations::Observations};
use crate::couch::{CouchError, Login, Method, Resource, ServerAdmin, Session};

const OS_ADMIN: &str = ServerAdmin::OsAdmin.as_str();

impl Bootstrap {
    /// Tries the file's password once. If the agent died during a rotation, it tries the new password once,
    /// too. It does not try a password that CouchDB refused recently, even if that was before the agent
    /// restarted.
    pub(super) async fn log_in(&self, observations: &mut Observations) -> Result<(), BootstrapError> {
        let Some(credentials) = observations.credentials().cloned() else {
            return Ok(());
        };
        let mut again = self.barred(OS_ADMIN, &credentials.password).await?;
        let mut accepted = None;
        if again.is_none() {
            accepted = self.try_password(&credentials.password).await?;
        }
        let mut settled = credentials.clone().settled();
        if let (None, Some(next)) = (&accepted, &credentials.next) {
            let next_again = self.barred(OS_ADMIN, next).await?;
            if next_again.is_none() {
                // Swap both first: an agent that is killed here repeatedly would otherwise send the old
                // password each time, and five refusals lock the account.
                let turned = credentials.clone().turned();
                self.store(&turned).await?;
                observations.hold(turned.clone());
                accepted = self.try_password(next).await?;
                settled = turned.settled();
            }
            again = again.or(next_again);
        }
        if accepted.is_some() && credentials.next.is_some() {
            self.store(&settled).await?;
            observations.hold(settled);
        }
        observations.tried(accepted, Some(again.unwrap_or(WINDOW)));
        Ok(())
    }

    /// Logs in as a server administrator; `None` if CouchDB refuses the password.
    ///
    /// # Errors
    /// [`CouchError::LoginUnusable`] if the login is no server administrator's for a reason other than its
    /// password. That may be repaired at any moment, and trying again costs nothing.
    pub(super) async fn try_password(&self, password: &Secret) -> Result<Option<Arc<Login>>, BootstrapError> {
        match self.prove(OS_ADMIN, password).await {
            Ok(login) => Ok(Some(Arc::new(login))),
            Err(BootstrapError::Couch(CouchError::LoginRefused)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The login of the configured bootstrap administrator; `None` if none is configured.
    pub(super) async fn bootstrap_login(&self) -> Result<Option<Login>, BootstrapError> {
        let Some((name, password)) = self.settings.bootstrap_admin.as_ref() else { return Ok(None) };
        let refused = || BootstrapError::BootstrapAdminRefused(name.clone());
        if self.barred(name, password).await?.is_some() {
            return Err(refused());
        }
        match self.prove(name, password).await {
            Ok(login) => Ok(Some(login)),
            Err(BootstrapError::Couch(CouchError::LoginRefused)) => Err(refused()),
            Err(error) => Err(error),
        }
    }

    async fn prove(&self, name: &str, password: &Secret) -> Result<Login, BootstrapError> {
        let login = Login::new(name, password);
        let asked = self.client.send(Some(&login), Method::GET, &Resource::Session, None).await;
        if login.was_refused() {
            self.was_refused(name, Some(password)).await?;
        }
        Session::from_answer(asked?)?.must_be_admin(name).map_err(CouchError::from)?;
        Ok(login)
    }
}
