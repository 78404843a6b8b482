//! The server administrators: `root`, which Trove's root commands enable and disable, and the reserved names.

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
    /// Makes `root` a server administrator with this password, or changes its password.
    ///
    /// The agent sends a hash: CouchDB hashes a plain password some time after it answered, and loses the
    /// second of two consecutive changes. The agent then logs in once, because a server that does not know
    /// the hash function would use the text of the hash as the password.
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
            // Too many logins as root used a wrong password. The new password is set all the same.
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

    /// CouchDB applied the change but could not write it to disk. After this error, `root` must not have the
    /// rejected password.
    async fn undo_root(&self, config: &ConfigRoot, before: Option<Value>, why: &str) -> CouchError {
        let undone = match &before {
            Some(hash) => self.put(&Resource::AdminHash(config, ServerAdmin::Root), hash).await.map(drop),
            None => self.delete(&Resource::Admin(config, ServerAdmin::Root)).await.map(drop),
        };
        // CouchDB can't write this change to disk either, so only the value in force counts.
        drop(undone);
        let stands = match self.stored_root(config).await {
            Ok(now) if now == before => "root is as before",
            _ => "root may have the new password until CouchDB restarts",
        };
        CouchError::ConfigNotWritten(format!("{why}; {stands}"))
    }

    /// The server did not recognise the hash and uses its text as the password, so its version is not the
    /// known one.
    async fn take_root_back(&self, config: &ConfigRoot) {
        self.forget_server();
        if let Err(error) = self.delete(&Resource::Admin(config, ServerAdmin::Root)).await {
            warn!(%error, "root has an unknown password and can't be disabled.");
        }
    }

    /// Refuses names of server administrators: CouchDB would store the user document but never use it for a
    /// login.
    pub(crate) async fn refuse_admin_names(&self, users: &[&TenantUser]) -> Result<(), CommandError> {
        let admins = self.admins_at(&self.server().await?.config).await?;
        match users.iter().find(|user| admins.contains(user.as_str())) {
            Some(user) => Err(CommandError::AdminName((***user).clone())),
            None => Ok(()),
        }
    }

    /// The names of the server administrators of a node. Each node of a cluster has its own.
    pub async fn admins_at(&self, config: &ConfigRoot) -> Result<BTreeSet<String>, CouchError> {
        let admins = absent_is_none(self.get(&Resource::Admins(config)).await)?;
        let names = admins.as_ref().and_then(Value::as_object).map(|admins| admins.keys().cloned().collect());
        Ok(names.unwrap_or_default())
    }

    /// Removes `root`. A missing `root` is no error.
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
