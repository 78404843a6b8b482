//! An HTTP client for one CouchDB, with keep-alive, time limits and the agent's own errors.
//!
//! Paths come from [`Resource`]; other modules interpret the answers. The client never follows a redirect and
//! never uses a proxy, so that the `os_admin` password goes only to the configured server.

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
    /// The number of requests that could not reach the server or lost the connection.
    outages: watch::Sender<u64>,
    pub(super) line: Arc<Line>,
    pub(super) observer: Option<Arc<dyn Observer>>,
}

impl Client {
    /// A client for the server at `url`, whose path is ignored. `files` are used if the scheme is https.
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

    /// The same client with an observer of its requests.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// The same client for a request that must not wait for other requests.
    pub(crate) fn urgent(&self) -> Self {
        Self { slots: Arc::new(Semaphore::new(1)), ..self.clone() }
    }

    /// The host of the server, as in its URL.
    pub(crate) fn host(&self) -> String {
        Url::parse(&self.origin).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The time limits and the number of concurrent requests.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Changes whenever a request can't reach the server or loses the connection: afterwards, another server
    /// may answer.
    pub fn outages(&self) -> watch::Receiver<u64> {
        self.outages.subscribe()
    }

    /// The version in the head of CouchDB's last answer. `None` if no answer named one.
    pub(crate) fn seen_version(&self) -> Option<ServerVersion> {
        self.line.version()
    }

    /// How long requests have been sent without an answer.
    pub(crate) fn silent_for(&self) -> Duration {
        self.line.silent_for()
    }

    /// Sends one request and returns the answer's JSON (`null` if empty).
    ///
    /// # Errors
    /// All answers other than 2xx, see [`CouchError`]. A refused login is not sent again.
    pub async fn send(
        &self,
        login: Option<&Login>,
        method: Method,
        resource: &Resource<'_>,
        body: Option<&Value>,
    ) -> Result<Value, CouchError> {
        read_answer(&self.send_text(login, method, resource, body.map(Value::to_string)).await?)
    }

    /// Like `send`, with the bodies as text.
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
                let _probe = login.admit(self.limits.request).await.ok_or_else(|| self.late())??;
                let answer = self.exchange(request).await;
                login.learn(&answer);
                answer
            }
        };
        self.tell(&result);
        result
    }

    /// Opens an answer of at most `longest` bytes. Returns when CouchDB has begun to send it.
    ///
    /// # Errors
    /// As with [`Client::send`].
    pub async fn download(
        &self,
        login: &Login,
        resource: &Resource<'_>,
        longest: u64,
    ) -> Result<Download, CouchError> {
        let _probe = login.admit(self.limits.request).await.ok_or_else(|| self.late())??;
        let request = Request { login: Some(login), method: Method::GET, resource, body: None };
        let answer = self.open(request, longest).await;
        login.learn(&answer);
        self.tell(&answer);
        answer
    }

    /// Streams a body. Returns when CouchDB has answered.
    ///
    /// # Errors
    /// As with [`Client::send`]. The body is not sent a second time.
    pub async fn upload(
        &self,
        login: &Login,
        method: Method,
        resource: &Resource<'_>,
        body: Upload,
    ) -> Result<Value, CouchError> {
        // Check the login first: other requests with it must not wait for the end of the body.
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

    /// Counts an outage that was noticed in an answer: the server or its data directory was replaced.
    pub(crate) fn tell_outage(&self) {
        self.outages.send_modify(|count| *count = count.wrapping_add(1));
    }
}

#[cfg(test)]
#[path = "client/tests.rs"]
mod tests;
