//! The server administrators: `root`, which Trove's root commands switch on and off, and the names that are taken.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;
use tracing::warn;
use trove_couchdb_protocol::Secret;

use crate::{
    CommandError, ConfigRoot, Couch, CouchError, Login, Resource, ServerAdmin, TenantUser,
    reply::error::absent_is_none,
};

impl Couch {
    /// Makes `root` a server administrator with this password, or gives it this password.
    ///
    /// A ready hash is sent: CouchDB hashes a plain password some time after it answered, and loses the second
    /// of two that follow each other. The login is then tried once, since a server that doesn't know the
    /// hash's function would take its text for the password.
    pub async fn enable_root(&self, password: &Secret) -> Result<(), CommandError> {
        if password.expose().is_empty() {
            return Err(CommandError::RootPasswordEmpty);
        }
        let settings = self.auth_settings().await?;
        self.ask_rules_for_root(password, &settings).await?;
        let server = self.server().await?;
        let hash = self.hasher.hash(password, server.version, settings.rounds);
        let hash = hash.await.ok_or(CommandError::Stopping)?;
        let resource = Resource::AdminHash(&server.config, ServerAdmin::Root);
        let before = self.stored_root(&server.config).await?;
        match self.put(&resource, &Value::from(hash.admin_value())).await {
            Err(CouchError::ConfigNotWritten(why)) => {
                return Err(self.undo_root(&server.config, before, &why).await.into());
            }
            put => put?,
        };

        let login = Login::new(ServerAdmin::Root.as_str(), password);
        let session = self.client.send(Some(&login), Method::GET, &Resource::Session, None).await;
        match session {
            Ok(_) => Ok(()),
            // Somebody tried wrong passwords as root; the new one holds all the same.
            Err(CouchError::LockedOut) => {
                warn!("root is enabled, and locked out for up to 5 minutes after wrong passwords.");
                Ok(())
            }
            Err(CouchError::LoginRefused) => {
                self.take_root_back(&server.config).await;
                let problem = "the password that was just set is refused; root is disabled".into();
                Err(CouchError::Unexpected { what: "the first login as root", problem }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn stored_root(&self, config: &ConfigRoot) -> Result<Option<Value>, CouchError> {
        absent_is_none(self.get(&Resource::Admin(config, ServerAdmin::Root)).await)
    }

    /// CouchDB could not write the change down, and made it all the same: an error must not leave an administrator with a
    /// password that was refused.
    async fn undo_root(&self, config: &ConfigRoot, before: Option<Value>, why: &str) -> CouchError {
        let undone = match &before {
            Some(hash) => self.put(&Resource::AdminHash(config, ServerAdmin::Root), hash).await.map(drop),
            None => self.delete(&Resource::Admin(config, ServerAdmin::Root)).await.map(drop),
        };
        // It is not written down either, so what counts is what is in force now.
        drop(undone);
        let stands = match self.stored_root(config).await {
            Ok(now) if now == before => "root is as before",
            _ => "root may have the new password until CouchDB restarts",
        };
        CouchError::ConfigNotWritten(format!("{why}; {stands}"))
    }

    /// What was sent was not understood as a hash: then its text is the password, and the server is not the one
    /// that it was taken for.
    async fn take_root_back(&self, config: &ConfigRoot) {
        self.forget_server();
        if let Err(error) = self.delete(&Resource::Admin(config, ServerAdmin::Root)).await {
            warn!(%error, "root has a password that nobody knows, and can't be disabled.");
        }
    }

    /// Refuses names of server administrators: such a user document would be there and never log anybody in.
    pub(crate) async fn refuse_admin_names(&self, users: &[&TenantUser]) -> Result<(), CommandError> {
        let admins = self.admins_at(&self.server().await?.config).await?;
        match users.iter().find(|user| admins.contains(user.as_str())) {
            Some(user) => Err(CommandError::AdminName((***user).clone())),
            None => Ok(()),
        }
    }

    /// The names of the server administrators of a node: each node of a cluster has its own.
    pub async fn admins_at(&self, config: &ConfigRoot) -> Result<BTreeSet<String>, CouchError> {
        let admins = absent_is_none(self.get(&Resource::Admins(config)).await)?;
        let names = admins.as_ref().and_then(Value::as_object).map(|admins| admins.keys().cloned().collect());
        Ok(names.unwrap_or_default())
    }

    /// Takes `root` away. Not being there is no error.
    pub async fn disable_root(&self) -> Result<(), CommandError> {
        let server = self.server().await?;
        let admins = self.admins_at(&server.config).await?;
        if admins.iter().all(|name| name == ServerAdmin::Root.as_str()) {
            return Err(CommandError::LastAdmin);
        }
        match self.delete(&Resource::Admin(&server.config, ServerAdmin::Root)).await {
            Err(CouchError::ConfigNotWritten(why)) => {
                let stands = "root is disabled, and enabled again when CouchDB restarts";
                Err(CouchError::ConfigNotWritten(format!("{why}; {stands}")).into())
            }
            deleted => Ok(absent_is_none(deleted).map(drop)?),
        }
    }

    /// Whether `root` is a server administrator.
    pub async fn is_root_enabled(&self) -> Result<bool, CommandError> {
        let server = self.server().await?;
        Ok(self.stored_root(&server.config).await?.is_some())
    }
}
