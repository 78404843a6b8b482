//! Requests to one account of the object store. All may be sent again: a repeated one has the same effect.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{
    Client, Method, Response, StatusCode,
    header::{HeaderName, HeaderValue},
};
use tokio::time::{self, Instant};
use url::Url;

use super::error::{SwiftError, innermost};
use crate::system::tls;

const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// The longest list of names: 1000 with at most 1024 bytes each.
const LONGEST_LIST: usize = 2 << 20;

/// How many names are requested at a time.
const PAGE: &str = "1000";

/// How often a request is sent while the object store fails, and the pause before the second time.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// The name of a header, and its value.
pub type Header = (&'static str, String);

/// An object, or a container.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The container.
    pub container: &'a str,
    /// The object's name, which may contain slashes.
    pub object: Option<&'a str>,
}

/// The account of a user's project.
#[derive(Debug)]
pub struct Account {
    pub(super) http: Client,
    pub(super) url: Url,
    pub(super) token: HeaderValue,
    pub(super) limit: Duration,
    pub(super) deadline: Instant,
    pub(super) tls: tls::Files,
}

impl Account {
    /// The content of an object of at most `longest` bytes; `None` if there is no such object or container.
    pub async fn get(&self, place: Place<'_>, longest: usize) -> Result<Option<Vec<u8>>, SwiftError> {
        // The newest of all copies: the object was perhaps replaced a moment ago.
        let headers = [("x-newest", "true".to_owned())];
        self.exchange(Method::GET, place, &[], &headers, None, longest).await
    }

    /// Creates or replaces an object or a container. `false` if an object's container does not exist.
    pub async fn put(
        &self,
        place: Place<'_>,
        headers: &[Header],
        body: impl Into<Bytes>,
    ) -> Result<bool, SwiftError> {
        let done = self.exchange(Method::PUT, place, &[], headers, Some(body.into()), LONGEST_LIST).await?;
        Ok(done.is_some())
    }

    /// Deletes an object. It is no error if it does not exist.
    pub async fn delete(&self, place: Place<'_>) -> Result<(), SwiftError> {
        self.exchange(Method::DELETE, place, &[], &[], None, LONGEST_LIST).await.map(drop)
    }

    /// The names of at most 1000 objects that begin with `prefix`, in order, after `marker`.
    pub async fn list(&self, container: &str, prefix: &str, marker: &str) -> Result<Vec<String>, SwiftError> {
        let query = [("format", "plain"), ("limit", PAGE), ("prefix", prefix), ("marker", marker)];
        let place = Place { container, object: None };
        let found = self.exchange(Method::GET, place, &query, &[], None, LONGEST_LIST).await?;
        let names = String::from_utf8_lossy(&found.unwrap_or_default()).into_owned();
        Ok(names.lines().filter(|name| name.starts_with(prefix)).map(str::to_owned).collect())
    }

    /// Sends a request, and repeats it if the object store fails. `None` for 404.
    async fn exchange(
        &self,
        method: Method,
        place: Place<'_>,
        query: &[(&str, &str)],
        headers: &[Header],
        body: Option<Bytes>,
        longest: usize,
    ) -> Result<Option<Vec<u8>>, SwiftError> {
        let mut attempt = 1;
        loop {
            let request = self.http.request(method.clone(), self.url_of(place, query));
            let request = request.header(TOKEN, self.token.clone());
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
            let request = body.iter().cloned().fold(request, reqwest::RequestBuilder::body);
            let until = self.deadline.min(Instant::now() + self.limit);
            let exchange = async {
                let response = request.send().await.map_err(|error| self.explain(&error))?;
                self.read(response, place.container, longest).await
            };
            let answer = time::timeout_at(until, exchange).await.unwrap_or_else(|_| Err(self.late()));
            let pause = PAUSE * attempt;
            let may_repeat = attempt < ATTEMPTS && Instant::now() + pause < self.deadline;
            match answer {
                Err(error) if may_repeat && is_passing(&error) => time::sleep(pause).await,
                answer => return answer,
            }
            attempt += 1;
        }
    }

    async fn read(
        &self,
        mut response: Response,
        container: &str,
        longest: usize,
    ) -> Result<Option<Vec<u8>>, SwiftError> {
        let status = response.status();
        let container = || container.to_owned();
        match status {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::UNAUTHORIZED => return Err(SwiftError::Token),
            StatusCode::FORBIDDEN => return Err(SwiftError::Denied { container: container() }),
            StatusCode::PAYLOAD_TOO_LARGE => return Err(SwiftError::Full { container: container() }),
            status if status.is_success() => {}
            status => return Err(SwiftError::Refused { status: status.as_u16(), container: container() }),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.explain(&error))? {
            if body.len() + chunk.len() > longest {
                return Err(SwiftError::TooLong { container: container() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }

    fn url_of(&self, place: Place<'_>, query: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        // Only a URL without a host has no segments.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(place.container);
            path.extend(place.object.iter().flat_map(|name| name.split('/')));
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    fn late(&self) -> SwiftError {
        SwiftError::Timeout { origin: self.origin(), seconds: self.limit.as_secs() }
    }

    fn explain(&self, error: &reqwest::Error) -> SwiftError {
        if let Some((cause, host)) = tls::cause(error).zip(self.url.host_str()) {
            let peer = tls::Peer { section: "swift", host, files: &self.tls };
            return SwiftError::Insecure { origin: self.origin(), problem: tls::explain(cause, peer) };
        }
        SwiftError::Unreachable { origin: self.origin(), problem: innermost(error) }
    }
}

/// Whether the same request may succeed a second later. A hanging server goes on hanging.
fn is_passing(error: &SwiftError) -> bool {
    match error {
        SwiftError::Unreachable { .. } => true,
        SwiftError::Refused { status, .. } => matches!(status, 408 | 429 | 498 | 500..),
        _ => false,
    }
}
