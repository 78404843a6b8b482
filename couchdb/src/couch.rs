//! [`Couch`]: one CouchDB, and the agent's state for it between requests.

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
    server::{
        config_root::config_root,
        disk::Disk,
        health::{Degraded, Impairment},
        write_check::WriteCheck,
    },
};

/// The state of the `os_admin` login. Only bootstrap writes it.
#[derive(Debug, Clone)]
pub enum AdminLogin {
    /// Not available yet. The text names the pending step.
    Pending(String),
    /// The operator must act. The text says how.
    Stuck(String),
    /// CouchDB accepts the login but can't do its work.
    Impaired(Degraded),
    /// Verified by a login.
    Ready(Arc<Login>),
}

/// Facts about the CouchDB server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// From `GET /`.
    pub version: ServerVersion,
    /// The path of its configuration.
    pub config: ConfigRoot,
}

/// The interface to the local CouchDB.
#[derive(Debug)]
pub struct Couch {
    pub(crate) client: Client,
    admin: watch::Receiver<AdminLogin>,
    /// Determined at the first use, and again when an answer names another version.
    server: RwLock<Option<Server>>,
    /// Whether `%2F` in a path is known to reach the server unchanged.
    paths_pass: AtomicBool,
    /// `_security` has no revision, so only one task of the agent edits it at a time.
    pub(crate) security_locks: KeyedLocks<ListedDatabase>,
    /// Pending edits of `_security`.
    pub(crate) pending: PendingEdits,
    pub(crate) disk: Disk,
    /// `None` if health is only read.
    pub(crate) write_check: Option<WriteCheck>,
    /// Reading all users' access takes one request per database, so concurrent callers share a scan.
    pub(crate) shared_scans: SharedScans<UserAccess>,
    pub(crate) hasher: Hasher,
    pub(crate) policy: Policy,
}

impl Couch {
    /// Combines the parts. Sends no request.
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
            write_check: None,
            shared_scans: SharedScans::default(),
            hasher,
            policy,
        }
    }

    /// A `Couch` for requests with this login before [`AdminLogin::Ready`] is published. It creates nothing.
    pub fn of_login(client: Client, login: Arc<Login>, hasher: Hasher, disk: Disk) -> Self {
        // The value stays readable after the sender is dropped.
        let (_, admin) = watch::channel(AdminLogin::Ready(login));
        Self::new(client, admin, hasher, Policy::new(&[], &[]), PendingEdits::default(), disk)
    }

    /// Why CouchDB can't do its work, if bootstrap has found that out.
    pub(crate) fn impaired(&self) -> Option<Degraded> {
        match &*self.admin.borrow() {
            AdminLogin::Impaired(degraded) => Some(degraded.clone()),
            _ => None,
        }
    }

    /// The rules for names that callers may use.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn login(&self) -> Result<Arc<Login>, CouchError> {
        match &*self.admin.borrow() {
            AdminLogin::Ready(login) => Ok(Arc::clone(login)),
            AdminLogin::Pending(why) => Err(CouchError::NotBootstrapped(why.clone())),
            AdminLogin::Stuck(why) => Err(CouchError::NoLogin(why.clone())),
            AdminLogin::Impaired(degraded) if degraded.by == Impairment::NodeRenamed => {
                Err(CouchError::NoLogin(degraded.reason.clone()))
            }
            AdminLogin::Impaired(degraded) => Err(CouchError::NotBootstrapped(degraded.reason.clone())),
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

    /// Like `send`, with the bodies as text.
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

    /// Opens an answer of at most `longest` bytes. `os_admin`'s password may be changed before its end.
    pub async fn download(&self, resource: &Resource<'_>, longest: u64) -> Result<Download, CouchError> {
        let (login, _until_it_begins) = self.leased(resource).await?;
        self.learn(resource, self.client.download(&login, resource, longest).await)
    }

    /// Streams a body. `os_admin`'s password may be changed before its end.
    pub async fn upload(
        &self,
        method: Method,
        resource: &Resource<'_>,
        body: Upload,
    ) -> Result<Value, CouchError> {
        let (login, client_use) = self.leased(resource).await?;
        let mut uploading = pin!(self.client.upload(&login, method, resource, body));
        // After this time CouchDB has checked the login, or it will not answer in time at all.
        let answer = match time::timeout(self.client.limits().request, &mut uploading).await {
            Ok(answer) => answer,
            Err(_going_on) => {
                drop(client_use);
                uploading.await
            }
        };
        self.learn(resource, answer)
    }

    /// A login for a new request.
    async fn leased(&self, resource: &Resource<'_>) -> Result<(Arc<Login>, ClientUse), CouchError> {
        loop {
            let login = self.login()?;
            // The login was just replaced: take the new one.
            if let Some(client_use) = login.client_use().await {
                if resource.has_a_slash_in_a_name() {
                    self.paths_must_pass(&login).await?;
                }
                return Ok((login, client_use));
            }
        }
    }

    /// Updates the agent's knowledge of the server from an answer.
    fn learn<T>(&self, resource: &Resource<'_>, answer: Result<T, CouchError>) -> Result<T, CouchError> {
        let mut answer = answer;
        if resource.is_in_users() && answer.as_ref().is_err_and(CouchError::is_missing_database) {
            // Bootstrap created `_users` and recreates it. The database can vanish without a request failing
            // for an outage.
            self.client.tell_outage();
            answer = Err(CouchError::NotBootstrapped("there is no _users database (any more)".to_owned()));
        }
        if answer.as_ref().is_err_and(CouchError::is_outage) {
            self.forget_server();
        }
        answer
    }

    /// A proxy that decodes `%2F` would turn a database into a document and a user into an attachment. Names
    /// with a slash are sent only after a check for such a proxy.
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

    /// What is known, unless an answer named another version since, which can be the only sign of an upgrade.
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

    /// The server's last known version, without a request.
    pub fn known_version(&self) -> Option<ServerVersion> {
        self.known_server().map(|server| server.version)
    }

    /// The server's version and the path of its configuration.
    pub async fn server(&self) -> Result<Server, CouchError> {
        match self.known_server() {
            Some(known) => Ok(known),
            None => self.server_now().await,
        }
    }

    /// Like `server`, always with a request: after an upgrade, CouchDB may refuse logins with hashes of the
    /// old kind.
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
