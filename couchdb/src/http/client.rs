//! One HTTP client for one CouchDB: keep-alive, time limits, and errors in our words.
//!
//! Knows how to ask, not what to ask for: paths come from [`Resource`], meaning from the modules beside this
//! one. Never follows a redirect and never uses a proxy: the `os_admin` password goes to the configured server
//! or nowhere.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{
    Method, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use tokio::{
    sync::{Semaphore, watch},
    time,
};
use tracing::{Instrument, Span};
use trove_couchdb_system::tls;
use url::Url;

use crate::{
    http::{
        connector::{Connector, Limits, innermost},
        line::Line,
        login::Login,
        observer::{Exchange, Observer},
    },
    path::resource::Resource,
    reply::{
        answer::{self, read_answer},
        error::CouchError,
        stranger,
        version::ServerVersion,
    },
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How long the body of a 401 is waited for, which says what it is about. Meanwhile nobody else tries the same password.
const REFUSAL: Duration = Duration::from_secs(1);

/// The connection pool to one CouchDB.
#[derive(Debug, Clone)]
pub struct Client {
    connector: Arc<Connector>,
    /// Scheme, host and port, without a trailing `/`.
    origin: String,
    limits: Limits,
    slots: Arc<Semaphore>,
    /// How many requests found no server, or lost it.
    outages: watch::Sender<u64>,
    line: Arc<Line>,
    observer: Option<Arc<dyn Observer>>,
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
        let result = match login {
            None => self.exchange(None, method, resource, body).await,
            Some(login) => {
                let limit = self.limits.request;
                let late = CouchError::Timeout { origin: self.origin.clone(), limit };
                let _canary = login.admit(limit).await.ok_or(late)??;
                let answer = self.exchange(Some(login.header()), method, resource, body).await;
                login.learn(&answer);
                answer
            }
        };
        if result.as_ref().is_err_and(CouchError::is_outage) {
            self.tell_outage();
        }
        result
    }

    /// Counts an outage that shows in an answer: it is that of another server, or of another data directory.
    pub(crate) fn tell_outage(&self) {
        self.outages.send_modify(|count| *count = count.wrapping_add(1));
    }

    async fn exchange(
        &self,
        authorization: Option<&HeaderValue>,
        method: Method,
        resource: &Resource<'_>,
        body: Option<String>,
    ) -> Result<Vec<u8>, CouchError> {
        // Never closed: without a permit there would still be the request's own limits.
        let _slot = self.slots.acquire().await.ok();
        let (begun, mut status) = (Instant::now(), None);
        let (observer, class) = (self.observer.as_deref(), resource.class());
        let span = observer.map_or_else(Span::none, |observer| observer.begins(method.as_str(), class));
        let asking = self.ask(authorization, method, resource, body, &mut status);
        let answer = asking.instrument(span.clone()).await;
        if let Some(observer) = observer {
            let status = match &answer {
                // Also when an answer began and did not end.
                Err(error) if status.is_none() || error.is_outage() => Err(error.kind()),
                _ => Ok(status.map_or(0, |status| status.as_u16())),
            };
            let exchange = Exchange { class, status, went_well: answer.is_ok(), took: begun.elapsed() };
            observer.ends(&span, &exchange);
        }
        answer
    }

    /// Asks, and notes the status as soon as it is known.
    async fn ask(
        &self,
        authorization: Option<&HeaderValue>,
        method: Method,
        resource: &Resource<'_>,
        body: Option<String>,
        known: &mut Option<StatusCode>,
    ) -> Result<Vec<u8>, CouchError> {
        self.line.may_send(&self.origin, Instant::now().into())?;
        let http = self.connector.http().await.map_err(|reason| self.insecure(reason))?;
        let mut request = http.request(method, format!("{}{}", self.origin, resource.path()));
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, JSON).body(body);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(self.explain(&error).await),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        *known = Some(status);
        self.line.note(status, &headers);
        if status == StatusCode::TOO_MANY_REQUESTS {
            let none = CouchError::TooManyRequests { origin: self.origin.clone(), retry_after: None };
            return Err(self.line.may_send(&self.origin, Instant::now().into()).err().unwrap_or(none));
        }
        let body = if status == StatusCode::UNAUTHORIZED {
            // Whatever becomes of the body, it is a refusal.
            time::timeout(REFUSAL, self.body(response)).await.ok().and_then(Result::ok).unwrap_or_default()
        } else {
            self.body(response).await?
        };
        if let Some(seen) = stranger::seen(status, &headers, &body) {
            return Err(CouchError::NotCouchDb {
                origin: self.origin.clone(),
                status: status.as_u16(),
                seen,
            });
        }
        if status.is_success() {
            return Ok(body);
        }
        let error = answer::parse(&body).unwrap_or_default();
        Err(match (status, authorization) {
            (StatusCode::UNAUTHORIZED, Some(_)) => CouchError::of_a_login(&error),
            _ => CouchError::from_status(status, &error, |reason| resource.kept_back_in(reason)),
        })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, CouchError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.explain_break(&error))? {
            if body.len() + chunk.len() > answer::LONGEST {
                return Err(CouchError::Unexpected { what: "a request", problem: answer::TOO_LONG.into() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn insecure(&self, reason: String) -> CouchError {
        CouchError::Insecure { origin: self.origin.clone(), reason }
    }

    async fn explain(&self, error: &reqwest::Error) -> CouchError {
        let origin = self.origin.clone();
        if let Some(reason) = self.connector.why_insecure(error) {
            self.insecure(reason)
        } else if error.is_connect() {
            CouchError::Unreachable { origin, reason: innermost(error) }
        } else if error.is_timeout() {
            CouchError::Timeout { origin, limit: self.limits.request }
        } else if error.is_builder() {
            // Nothing was sent: that says nothing of the server.
            CouchError::BadRequest(format!("it can't be sent ({})", innermost(error)))
        } else {
            CouchError::BrokenOff { origin, reason: self.connector.why_broken_off(error).await }
        }
    }

    fn explain_break(&self, error: &reqwest::Error) -> CouchError {
        let origin = self.origin.clone();
        if error.is_timeout() {
            CouchError::Timeout { origin, limit: self.limits.request }
        } else {
            CouchError::BrokenOff { origin, reason: innermost(error) }
        }
    }
}

#[cfg(test)]
#[path = "client/tests.rs"]
mod tests;
