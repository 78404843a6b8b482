//! One HTTP client for one CouchDB: keep-alive, time limits, and errors in our words.
//!
//! Knows how to ask, not what to ask for: paths come from [`Resource`], meaning from the modules beside this
//! one. Never follows a redirect and never uses a proxy: the `os_admin` password goes to the configured server
//! or nowhere.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, HeaderValue},
    redirect,
};
use serde_json::Value;
use sha2::Sha256;
use trove_couchdb_protocol::Secret;
use url::Url;
use zeroize::Zeroizing;

use super::{error::CouchError, resource::Resource};

/// How long to wait for CouchDB, and how many connections to keep.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a connection to stand.
    pub connect: Duration,
    /// For a whole exchange.
    pub request: Duration,
    /// Connections kept open, and the concurrency of a pass over all databases.
    pub connections: usize,
}

/// A name and password, as CouchDB wants them in a request.
///
/// Remembers that they were refused, so that nobody tries them again: CouchDB 3.4+ locks an account after five
/// wrong passwords, for every client of the same address.
#[derive(Debug)]
pub struct Login {
    name: String,
    header: HeaderValue,
    refused: AtomicBool,
}

impl Login {
    /// HTTP Basic credentials (RFC 7617, UTF-8).
    pub fn new(name: &str, password: &Secret) -> Self {
        let pair = Zeroizing::new(format!("{name}:{}", password.expose()));
        let text = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        // Base64 is always legal in a header; the fallback only means a refused login.
        let mut header =
            HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Basic unusable"));
        header.set_sensitive(true);
        Self { name: name.to_owned(), header, refused: AtomicBool::new(false) }
    }

    /// The account's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// 32 hexadecimal characters (128 bits) of HMAC-SHA256 over `id`, keyed with these credentials.
    pub(super) fn derive_password(&self, id: &str) -> Secret {
        let key = self.header.as_bytes();
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
            return Secret::new("");
        };
        mac.update(b"trove-couchdb-agent root password\0");
        mac.update(id.as_bytes());
        let mut text = Zeroizing::new(hex::encode(mac.finalize().into_bytes()));
        text.truncate(32);
        Secret::new(text.as_str())
    }

    /// Whether CouchDB has answered 401 to it.
    pub fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }
}

/// The connection pool to one CouchDB.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Scheme, host and port, without a trailing `/`.
    origin: String,
    limits: Limits,
}

impl Client {
    /// A client for the server at `url` (its path is not used).
    pub fn new(url: &Url, limits: Limits) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .redirect(redirect::Policy::none())
            .connect_timeout(limits.connect)
            .timeout(limits.request)
            .pool_max_idle_per_host(limits.connections)
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { http, origin: url.origin().ascii_serialization(), limits })
    }

    /// How long to wait, and for how many connections.
    pub fn limits(&self) -> Limits {
        self.limits
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
        let mut request = self.http.request(method, format!("{}{}", self.origin, resource.path()));
        if let Some(login) = login {
            if login.was_refused() {
                return Err(CouchError::LoginRefused);
            }
            request = request.header(AUTHORIZATION, login.header.clone());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.explain(&error))?;
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED
            && let Some(login) = login
        {
            login.refused.store(true, Ordering::Release);
        }
        let bytes = response.bytes().await.map_err(|error| self.explain_break(&error))?;
        let answer = if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&bytes) };
        match (status.is_success(), answer) {
            (true, Ok(answer)) => Ok(answer),
            (true, Err(_)) => {
                Err(CouchError::Unexpected { what: "a request", problem: "the answer is not JSON".into() })
            }
            (false, answer) => Err(CouchError::from_status(status, &answer.unwrap_or_default())),
        }
    }

    fn explain(&self, error: &reqwest::Error) -> CouchError {
        let origin = self.origin.clone();
        if error.is_connect() {
            CouchError::Unreachable { origin, reason: innermost(error) }
        } else if error.is_timeout() {
            CouchError::Timeout { origin, limit: self.limits.request }
        } else {
            CouchError::BrokenOff { origin, reason: innermost(error) }
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

/// The last cause in the chain: "connection refused" says more than "error sending request", and reqwest's own
/// text would repeat the URL with the user's name in it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_hides_its_password() {
        let login = Login::new("os_admin", &Secret::new("hunter2"));
        let shown = format!("{login:?}");
        assert!(!shown.contains("hunter2") && !shown.contains(&BASE64_STANDARD.encode("os_admin:hunter2")));
        assert!(shown.contains("Sensitive"), "{shown}");
    }

    #[test]
    fn a_derived_password_is_repeatable_and_its_own() {
        let login = Login::new("os_admin", &Secret::new("hunter2"));
        let password = |login: &Login, id| login.derive_password(id).expose().to_owned();
        assert_eq!(password(&login, "a"), password(&login, "a"));
        assert_eq!(password(&login, "a").len(), 32);
        assert_ne!(password(&login, "a"), password(&login, "b"));
        assert_ne!(password(&login, "a"), password(&Login::new("os_admin", &Secret::new("other")), "a"));
    }
}
