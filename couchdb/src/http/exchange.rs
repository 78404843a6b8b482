//! One exchange of a [`Client`]: waits for a free slot, reads head and body of the answer, and converts
//! errors.

use std::{future::Future, time::Duration};

use reqwest::{
    Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use tokio::time::{self, Instant};
use tracing::Instrument;

use crate::{
    http::{
        client::Client,
        connector::innermost,
        observer::Watch,
        request::Request,
        stream::{Download, Progress, broken_off},
    },
    path::resource::Resource,
    reply::{answer, error::CouchError, stranger},
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The time limit for the body of a 401, which gives the reason. Meanwhile no other request uses the same
/// password.
const REFUSAL: Duration = Duration::from_secs(1);

impl Client {
    /// Sends a request and reads the whole answer, all within the request time limit.
    pub(super) async fn exchange(&self, request: Request<'_>) -> Result<Vec<u8>, CouchError> {
        // The semaphore is never closed. Without a permit the time limit would still apply.
        let _slot = self.slots.acquire().await.ok();
        let deadline = Instant::now() + self.limits.request;
        self.whole(request, time::sleep_until(deadline), Some(deadline)).await
    }

    /// The same with a body that may take hours. It needs no slot.
    pub(super) async fn exchange_in_pieces(
        &self,
        request: Request<'_>,
        progress: Progress,
    ) -> Result<Vec<u8>, CouchError> {
        self.whole(request, progress.stalls(self.limits.request), None).await
    }

    async fn whole(
        &self,
        request: Request<'_>,
        too_late: impl Future<Output = ()>,
        deadline: Option<Instant>,
    ) -> Result<Vec<u8>, CouchError> {
        let (resource, has_login) = (request.resource, request.login.is_some());
        let mut watch = Watch::begin(self.observer.as_deref(), request.method.as_str(), resource.class());
        let asking = async {
            let response = self.head(request, too_late, &mut watch.status).await?;
            let deadline = deadline.unwrap_or_else(|| Instant::now() + self.limits.request);
            self.read(response, resource, has_login, deadline).await
        };
        let answer = asking.instrument(watch.span.clone()).await;
        watch.end(&answer);
        answer
    }

    /// Sends a request. The caller reads the body of a successful answer.
    pub(super) async fn open(&self, request: Request<'_>, longest: u64) -> Result<Download, CouchError> {
        let _slot = self.slots.acquire().await.ok();
        let (resource, has_login) = (request.resource, request.login.is_some());
        let mut watch = Watch::begin(self.observer.as_deref(), request.method.as_str(), resource.class());
        let deadline = Instant::now() + self.limits.request;
        let asking = async {
            let response = self.head(request, time::sleep_until(deadline), &mut watch.status).await?;
            if response.status().is_success() {
                return Download::open(response, &self.origin, self.limits.request, longest).await;
            }
            let read = self.read(response, resource, has_login, deadline).await;
            read.and(Err(CouchError::Unexpected { what: "a request", problem: "no body".to_owned() }))
        };
        let answer = asking.instrument(watch.span.clone()).await;
        watch.end(&answer);
        answer
    }

    /// Sends a request and stores the status as soon as it is known.
    async fn head(
        &self,
        request: Request<'_>,
        too_late: impl Future<Output = ()>,
        known: &mut Option<StatusCode>,
    ) -> Result<Response, CouchError> {
        self.line.may_send(&self.origin, Instant::now())?;
        let http = self.connector.http().await.map_err(|reason| self.insecure(reason))?;
        let mut asked = http.request(request.method, format!("{}{}", self.origin, request.resource.path()));
        if let Some(login) = request.login {
            asked = asked.header(AUTHORIZATION, login.header());
        }
        if let Some(body) = request.body {
            asked = asked.header(CONTENT_TYPE, JSON).body(body);
        }
        let response = tokio::select! {
            response = asked.send() => response,
            () = too_late => return Err(self.late()),
        };
        let response = match response {
            Ok(response) => response,
            Err(error) => return Err(self.explain(&error).await),
        };
        let status = response.status();
        *known = Some(status);
        self.line.note(status, response.headers());
        if status == StatusCode::TOO_MANY_REQUESTS {
            let none = CouchError::TooManyRequests { origin: self.origin.clone(), retry_after: None };
            return Err(self.line.may_send(&self.origin, Instant::now()).err().unwrap_or(none));
        }
        Ok(response)
    }

    /// The body of a successful answer.
    async fn read(
        &self,
        response: Response,
        resource: &Resource<'_>,
        has_login: bool,
        deadline: Instant,
    ) -> Result<Vec<u8>, CouchError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = if status == StatusCode::UNAUTHORIZED {
            // The answer is a refusal even if its body can't be read.
            let body = time::timeout(REFUSAL, self.body(response, deadline)).await;
            body.ok().and_then(Result::ok).unwrap_or_default()
        } else {
            self.body(response, deadline).await?
        };
        if let Some(found) = stranger::found_instead(status, &headers, &body) {
            return Err(CouchError::NotCouchDb {
                origin: self.origin.clone(),
                status: status.as_u16(),
                found,
            });
        }
        if status.is_success() {
            return Ok(body);
        }
        let error = answer::parse(&body).unwrap_or_default();
        Err(match (status, has_login) {
            (StatusCode::UNAUTHORIZED, true) => CouchError::of_a_login(&error),
            _ => CouchError::from_status(status, &error, |reason| resource.kept_back_in(reason)),
        })
    }

    async fn body(&self, mut response: Response, deadline: Instant) -> Result<Vec<u8>, CouchError> {
        let mut body = Vec::new();
        loop {
            let chunk = time::timeout_at(deadline, response.chunk()).await.map_err(|_| self.late())?;
            let Some(chunk) = chunk.map_err(|error| broken_off(&self.origin, &error))? else {
                return Ok(body);
            };
            if body.len() + chunk.len() > answer::LONGEST {
                return Err(CouchError::Unexpected { what: "a request", problem: answer::TOO_LONG.into() });
            }
            body.extend_from_slice(&chunk);
        }
    }

    pub(super) fn late(&self) -> CouchError {
        CouchError::Timeout { origin: self.origin.clone(), limit: self.limits.request }
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
        } else if error.is_builder() {
            // Nothing was sent, so the server is not the cause.
            CouchError::BadRequest(format!("it can't be sent ({})", innermost(error)))
        } else {
            CouchError::BrokenOff { origin, reason: self.connector.why_broken_off(error).await }
        }
    }
}
