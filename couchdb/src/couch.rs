//! [`Couch`]: one CouchDB, and all that is known of it between two requests.

use std::{
    pin::pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::Method;
use serde_json::Value;
use tokio::{sync::watch, time};

use crate::{
    accounts::hash::Hasher,
    http::{
        client::Client,
        login::{ClientUse, Login},
        stream::{Download, Upload},
    },
    locks::KeyedLocks,
    path::{
        resource::Resource,
        segment::{ConfigRoot, ListedDatabase},
    },
    permissions::{
        pending::PendingEdits,
        shared_scans::{SharedScans, UserAccess},
    },
    policy::Policy,
    reply::{answer::read_answer, error::CouchError, version::ServerVersion},
    server::{config_root::config_root, disk::Disk},
};

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
    pub(crate) client: Client,
    admin: watch::Receiver<AdminLogin>,
    /// Found out at the first use, and again when an answer names another version.
    server: RwLock<Option<Server>>,
    /// Whether `%2F` in a path is known to reach the server as it is.
    paths_pass: AtomicBool,
    /// `_security` has no revision: within the agent one writer at a time edits it.
    pub(crate) security_locks: KeyedLocks<ListedDatabase>,
    /// What is still to be done to them.
    pub(crate) pending: PendingEdits,
    pub(crate) disk: Disk,
    /// Reading everybody's access takes a request for each database: one pass at a time, for all who ask.
    pub(crate) shared_scans: SharedScans<UserAccess>,
    pub(crate) hasher: Hasher,
    pub(crate) policy: Policy,
}

impl Couch {
    /// Puts the parts together; asks nothing yet.
    pub fn new(
        client: Client,
        admin: watch::Receiver<AdminLogin>,
        hasher: Hasher,
        policy: Policy,
        pending: PendingEdits,
        disk: Disk,
    ) -> Self {
        Self {
            client,
            admin,
            server: RwLock::new(None),
            paths_pass: AtomicBool::new(false),
            security_locks: KeyedLocks::default(),
            pending,
            disk,
            shared_scans: SharedScans::default(),
            hasher,
            policy,
        }
    }

    /// Which names callers may use.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn login(&self) -> Result<Arc<Login>, CouchError> {
        match &*self.admin.borrow() {
            AdminLogin::Ready(login) => Ok(Arc::clone(login)),
            AdminLogin::Pending(why) => Err(CouchError::NotBootstrapped(why.clone())),
            AdminLogin::Stuck(why) => Err(CouchError::NoLogin(why.clone())),
        }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        resource: &Resource<'_>,
        body: Option<&Value>,
    ) -> Result<Value, CouchError> {
        read_answer(&self.send_text(method, resource, body.map(Value::to_string)).await?)
    }

    /// The same with bodies as they are on the wire.
    pub(crate) async fn send_text(
        &self,
        method: Method,
        resource: &Resource<'_>,
        body: Option<String>,
    ) -> Result<Vec<u8>, CouchError> {
        self.send_text_by(&self.client, method, resource, body).await
    }

    pub(crate) async fn send_text_by(
        &self,
        client: &Client,
        method: Method,
        resource: &Resource<'_>,
        body: Option<String>,
    ) -> Result<Vec<u8>, CouchError> {
        let (login, _lease) = self.leased(resource).await?;
        self.learn(resource, client.send_text(Some(&login), method, resource, body).await)
    }

    /// Opens an answer of at most `longest` bytes. `os_admin` may have another password before its end.
    pub async fn download(&self, resource: &Resource<'_>, longest: u64) -> Result<Download, CouchError> {
        let (login, _until_it_begins) = self.leased(resource).await?;
        self.learn(resource, self.client.download(&login, resource, longest).await)
    }

    /// Sends a body in pieces. `os_admin` may have another password before its end.
    pub async fn upload(
        &self,
        method: Method,
        resource: &Resource<'_>,
        body: Upload,
    ) -> Result<Value, CouchError> {
        let (login, client_use) = self.leased(resource).await?;
        let mut uploading = pin!(self.client.upload(&login, method, resource, body));
        // Nothing tells when CouchDB has looked at the login, but what has not looked by then does not answer in time, either.
        let answer = match time::timeout(self.client.limits().request, &mut uploading).await {
            Ok(answer) => answer,
            Err(_going_on) => {
                drop(client_use);
                uploading.await
            }
        };
        self.learn(resource, answer)
    }

    /// A login to begin a request with.
    async fn leased(&self, resource: &Resource<'_>) -> Result<(Arc<Login>, ClientUse), CouchError> {
        loop {
            let login = self.login()?;
            // Without a lease it has just been replaced: take the other one.
            if let Some(client_use) = login.client_use().await {
                if resource.has_a_slash_in_a_name() {
                    self.paths_must_pass(&login).await?;
                }
                return Ok((login, client_use));
            }
        }
    }

    /// Draws the conclusions from an answer.
    fn learn<T>(&self, resource: &Resource<'_>, answer: Result<T, CouchError>) -> Result<T, CouchError> {
        let mut answer = answer;
        if resource.is_in_users() && answer.as_ref().is_err_and(CouchError::is_missing_database) {
            // It was there at bootstrap, which makes it again; no request need have failed while CouchDB was away.
            self.client.tell_outage();
            answer = Err(CouchError::NotBootstrapped("there is no _users database (any more)".to_owned()));
        }
        if answer.as_ref().is_err_and(CouchError::is_outage) {
            self.forget_server();
        }
        answer
    }

    /// A proxy that decodes `%2F` would make a document of a database, and an attachment of a user: nothing with a slash
    /// in its name is sent before it is known that there is none.
    async fn paths_must_pass(&self, login: &Login) -> Result<(), CouchError> {
        if self.paths_pass.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.client.send(Some(login), Method::GET, &Resource::DecodedPath, None).await {
            Ok(_) => Err(CouchError::PathsRewritten),
            Err(CouchError::NotFound(_) | CouchError::BadRequest(_)) => {
                self.paths_pass.store(true, Ordering::Release);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn forget_server(&self) {
        self.disk.forget();
        self.paths_pass.store(false, Ordering::Release);
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What is known, unless an answer has named another version since: an upgrade need not be noticed otherwise.
    pub(crate) fn known_server(&self) -> Option<Server> {
        let known = self.server.read().unwrap_or_else(PoisonError::into_inner).clone();
        known.filter(|known| self.client.seen_version().is_none_or(|seen| seen == known.version))
    }

    pub(crate) async fn get(&self, resource: &Resource<'_>) -> Result<Value, CouchError> {
        self.send(Method::GET, resource, None).await
    }

    pub(crate) async fn put(&self, resource: &Resource<'_>, body: &Value) -> Result<Value, CouchError> {
        self.send(Method::PUT, resource, Some(body)).await
    }

    pub(crate) async fn delete(&self, resource: &Resource<'_>) -> Result<Value, CouchError> {
        self.send(Method::DELETE, resource, None).await
    }

    /// The server's version as it was last seen, without asking for it.
    pub fn known_version(&self) -> Option<ServerVersion> {
        self.known_server().map(|server| server.version)
    }

    /// The server's version and the place of its configuration.
    pub async fn server(&self) -> Result<Server, CouchError> {
        match self.known_server() {
            Some(known) => Ok(known),
            None => self.server_now().await,
        }
    }

    /// The same, asked for now: for a password's hash, which another version, or a new limit, may not let log in.
    pub(crate) async fn server_now(&self) -> Result<Server, CouchError> {
        let version = ServerVersion::from_welcome(self.get(&Resource::Welcome).await?)?;
        let login = self.login()?;
        let config = match self.known_server().filter(|known| known.version == version) {
            Some(known) => known.config,
            None => config_root(&self.client, Some(&login), version).await?,
        };
        let server = Server { version, config };
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = Some(server.clone());
        Ok(server)
    }
}
