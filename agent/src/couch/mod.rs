//! CouchDB as this agent administers it: users, databases, access, root, and its health.
//!
//! [`Couch`] is what handlers call. It takes names that passed [`Policy`], asks CouchDB over HTTP as
//! `os_admin`, and answers with values or a [`CommandError`]. Every function that changes something may be
//! run again after it was cut short at any point, and ends in the same state; that is what makes a redelivered
//! command harmless.
//!
//! ```text
//! handlers -> Couch -> Client -> CouchDB
//!               |         ^
//!               |         +-- bootstrap (before there is an os_admin login)
//!               +-- Policy, Hasher, security (pure edits)
//! ```
//!
//! Nothing else in the agent names `reqwest`.

mod access;
mod admins;
mod answer;
mod client;
mod command_error;
mod connector;
mod databases;
mod documents;
mod error;
mod exact;
mod exposure;
mod hash;
mod health;
mod locks;
mod login;
mod policy;
mod rename;
mod resource;
pub mod security;
mod security_object;
mod sweeps;
mod users;
mod version;

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;
use tokio::sync::watch;
use trove_couchdb_protocol::Secret;

pub use access::UserAccess;
pub use client::{Client, Limits};
pub use command_error::CommandError;
pub use databases::CreateDatabases;
pub use error::CouchError;
pub use exposure::Exposure;
pub use hash::{Hasher, Iterations, PasswordHash, Prf};
pub use health::Health;
pub use login::Login;
pub use policy::{Policy, TenantDatabase, TenantUser};
pub use reqwest::Method;
pub use resource::{ConfigRoot, ListedDatabase, NodeName, Resource, ServerAdmin, SystemDatabase};
pub use users::NewAccount;
pub use version::{ServerVersion, config_root};

use client::read_answer;
use locks::KeyedLocks;
use sweeps::Sweeps;

/// Whether there is an `os_admin` login to work with. Bootstrap is the only writer.
#[derive(Debug, Clone)]
pub enum AdminLogin {
    /// Not yet; the text says what is waited for.
    Pending(String),
    /// Not without the operator; the text says what to do.
    Stuck(String),
    /// Proven by logging in.
    Ready(Arc<Login>),
}

/// What the agent knows of the server that it talks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// From `GET /`.
    pub version: ServerVersion,
    /// Where its configuration lives.
    pub config: ConfigRoot,
}

/// The local CouchDB, administered.
#[derive(Debug)]
pub struct Couch {
    client: Client,
    admin: watch::Receiver<AdminLogin>,
    /// Found out at the first use and forgotten at an outage: an upgrade restarts the server.
    server: RwLock<Option<Server>>,
    /// `_security` has no revision: within the agent one writer at a time edits it.
    security_locks: KeyedLocks<ListedDatabase>,
    /// Reading everybody's access takes a request for each database: one pass at a time, for all who ask.
    sweeps: Sweeps<UserAccess>,
    hasher: Hasher,
    policy: Policy,
}

impl Couch {
    /// Puts the parts together; asks nothing yet.
    pub fn new(client: Client, admin: watch::Receiver<AdminLogin>, hasher: Hasher, policy: Policy) -> Self {
        Self {
            client,
            admin,
            server: RwLock::new(None),
            security_locks: KeyedLocks::default(),
            sweeps: Sweeps::default(),
            hasher,
            policy,
        }
    }

    /// Which names callers may use.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A strong password that is the same whenever it is asked for with the same id, as long as `os_admin` keeps
    /// its own. It tells nothing of that one.
    pub fn password_for(&self, id: &str) -> Result<Secret, CouchError> {
        Ok(self.login()?.derive_password(id))
    }

    fn login(&self) -> Result<Arc<Login>, CouchError> {
        match &*self.admin.borrow() {
            AdminLogin::Ready(login) => Ok(Arc::clone(login)),
            AdminLogin::Pending(why) => Err(CouchError::NotBootstrapped(why.clone())),
            AdminLogin::Stuck(why) => Err(CouchError::NoLogin(why.clone())),
        }
    }

    async fn send(
        &self,
        method: Method,
        resource: &Resource<'_>,
        body: Option<&Value>,
    ) -> Result<Value, CouchError> {
        read_answer(&self.send_text(method, resource, body.map(Value::to_string)).await?)
    }

    /// The same with bodies as they are on the wire.
    async fn send_text(
        &self,
        method: Method,
        resource: &Resource<'_>,
        body: Option<String>,
    ) -> Result<Vec<u8>, CouchError> {
        let mut result = loop {
            let login = self.login()?;
            // Without a lease it has just been replaced: take the other one.
            if let Some(_lease) = login.lease().await {
                break self.client.send_text(Some(&login), method, resource, body).await;
            }
        };
        if resource.is_in_users() && result.as_ref().is_err_and(CouchError::is_missing_database) {
            // It was there at bootstrap, which makes it again; no request need have failed while CouchDB was away.
            self.client.tell_outage();
            result = Err(CouchError::NotBootstrapped("there is no _users database (any more)".to_owned()));
        }
        if result.as_ref().is_err_and(CouchError::is_outage) {
            self.forget_server();
        }
        result
    }

    fn forget_server(&self) {
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn get(&self, resource: &Resource<'_>) -> Result<Value, CouchError> {
        self.send(Method::GET, resource, None).await
    }

    async fn put(&self, resource: &Resource<'_>, body: &Value) -> Result<Value, CouchError> {
        self.send(Method::PUT, resource, Some(body)).await
    }

    async fn delete(&self, resource: &Resource<'_>) -> Result<Value, CouchError> {
        self.send(Method::DELETE, resource, None).await
    }

    /// The server's version as it was last seen, without asking for it.
    pub fn known_version(&self) -> Option<ServerVersion> {
        self.server.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|server| server.version)
    }

    /// The server's version and the place of its configuration.
    pub async fn server(&self) -> Result<Server, CouchError> {
        if let Some(known) = self.server.read().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(known);
        }
        let version = ServerVersion::from_welcome(self.get(&Resource::Welcome).await?)?;
        let login = self.login()?;
        let config = config_root(&self.client, Some(&login), version).await?;
        let server = Server { version, config };
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = Some(server.clone());
        Ok(server)
    }
}
