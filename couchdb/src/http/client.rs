//! One HTTP client for one CouchDB: keep-alive, time limits, and errors in our words.
//!
//! Knows how to ask, not what to ask for: paths come from [`Resource`], meaning from the modules beside this
//! one. Never follows a redirect and never uses a proxy: the `os_admin` password goes to the configured server
//! or nowhere.

use std::{sync::Arc, time::Duration};

use reqwest::{Body, Method};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use trove_couchdb_system::tls;
use url::Url;

use crate::{
    http::{
        connector::{Connector, Limits},
        line::Line,
        login::Login,
        observer::Observer,
        request::Request,
        stream::{Download, Upload},
    },
    path::resource::Resource,
    reply::{answer::read_answer, error::CouchError, version::ServerVersion},
};

/// The connection pool to one CouchDB.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) connector: Arc<Connector>,
    /// Scheme, host and port, without a trailing `/`.
    pub(super) origin: String,
    pub(super) limits: Limits,
    pub(super) slots: Arc<Semaphore>,
    /// How many requests found no server, or lost it.
    outages: watch::Sender<u64>,
    pub(super) line: Arc<Line>,
    pub(super) observer: Option<Arc<dyn Observer>>,
}

impl Client {
    /// A client for the server at `url` (its path is not used); `files` count if its scheme is https.
    pub fn new(url: &Url, limits: Limits, files: tls::Files) -> Self {
        Self {
            connector: Arc::new(Connector::new(url, limits, files)),
            origin: url.origin().ascii_serialization(),
            limits,
            slots: Arc::new(Semaphore::new(limits.connections)),
            outages: watch::Sender::default(),
            line: Arc::default(),
            observer: None,
        }
    }

    /// The same client, of whose requests somebody is told.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// The same client for a request that must not wait until others are answered.
    pub(crate) fn urgent(&self) -> Self {
        Self { slots: Arc::new(Semaphore::new(1)), ..self.clone() }
    }

    /// How long to wait, and how much to ask at once.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Changes whenever a request finds no server or loses it: what comes back may be another one.
    pub fn outages(&self) -> watch::Receiver<u64> {
        self.outages.subscribe()
    }

    /// The version that CouchDB named in the head of its last answer; `None` if none did.
    pub(crate) fn seen_version(&self) -> Option<ServerVersion> {
        self.line.version()
    }

    /// For how long requests have been sent and none was answered.
    pub(crate) fn silent_for(&self) -> Duration {
        self.line.silent_for()
    }

    /// Sends one request and returns the answer's JSON (`null` for none).
    ///
    /// # Errors
    /// Everything that is not a 2xx, see [`CouchError`]. A login that was refused once is not sent again.
    pub async fn send(
        &self,
        login: Option<&Login>,
        method: Method,
        resource: &Resource<'_>,
        body: Option<&Value>,
    ) -> Result<Value, CouchError> {
        read_answer(&self.send_text(login, method, resource, body.map(Value::to_string)).await?)
    }

    /// The same with bodies as they are on the wire.
    pub(crate) async fn send_text(
        &self,
        login: Option<&Login>,
        method: Method,
        resource: &Resource<'_>,
        body: Option<String>,
    ) -> Result<Vec<u8>, CouchError> {
        let request = Request { login, method, resource, body: body.map(Body::from) };
        let result = match login {
            None => self.exchange(request).await,
            Some(login) => {
                let _canary = login.admit(self.limits.request).await.ok_or_else(|| self.late())??;
                let answer = self.exchange(request).await;
                login.learn(&answer);
                answer
            }
        };
        self.tell(&result);
        result
    }

    /// Opens an answer of at most `longest` bytes; returns when CouchDB has begun it.
    ///
    /// # Errors
    /// As with [`Client::send`].
    pub async fn download(
        &self,
        login: &Login,
        resource: &Resource<'_>,
        longest: u64,
    ) -> Result<Download, CouchError> {
        let _canary = login.admit(self.limits.request).await.ok_or_else(|| self.late())??;
        let request = Request { login: Some(login), method: Method::GET, resource, body: None };
        let answer = self.open(request, longest).await;
        login.learn(&answer);
        self.tell(&answer);
        answer
    }

    /// Sends a body in pieces; returns when CouchDB has answered.
    ///
    /// # Errors
    /// As with [`Client::send`]. A body is not sent a second time.
    pub async fn upload(
        &self,
        login: &Login,
        method: Method,
        resource: &Resource<'_>,
        body: Upload,
    ) -> Result<Value, CouchError> {
        // Nobody who has the same login waits for the end of the body to learn whether it is good.
        self.send(Some(login), Method::GET, &Resource::Session, None).await?;
        let (body, progress) = body.begin();
        let request = Request { login: Some(login), method, resource, body: Some(body) };
        let answer = self.exchange_in_pieces(request, progress).await;
        login.learn(&answer);
        self.tell(&answer);
        read_answer(&answer?)
    }

    fn tell<T>(&self, answer: &Result<T, CouchError>) {
        if answer.as_ref().is_err_and(CouchError::is_outage) {
            self.tell_outage();
        }
    }

    /// Counts an outage that shows in an answer: it is that of another server, or of another data directory.
    pub(crate) fn tell_outage(&self) {
        self.outages.send_modify(|count| *count = count.wrapping_add(1));
    }
}

#[cfg(test)]
#[path = "client/tests.rs"]
mod tests;
