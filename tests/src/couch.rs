//! The CouchDB that a test or the tour uses, and a small client to inspect it directly.
//!
//! Callers: integration tests and the tour. With `COUCHDB_URL=http://ADMIN:PASSWORD@HOST:PORT` in the
//! environment the server is that real one; else with `COUCHDB_HOME` it is a node of that release
//! ([`crate::real_couch`]); else it is an in-memory CouchDB in this process. The client deliberately shares
//! no code with the agent, because it checks the agent.

use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::{InMemoryCouch, Options, Version};
pub use reqwest::Method;
use reqwest::{StatusCode, Url};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::real_couch::{self, RealBuilder, RealNode};
use crate::test_log;

/// The variable with the URL of a real server, including the credentials of an admin.
pub(crate) const URL_VARIABLE: &str = "COUCHDB_URL";
/// Only stops a hung test.
const REQUEST_LIMIT: Duration = crate::until::HUNG;
/// A real server applies a changed or deleted user to logins up to 10 ms late; more under load.
const LATE: Duration = Duration::from_millis(150);

/// A server to test against.
pub struct CouchServer {
    url: Url,
    admin: Credentials,
    kind: Kind,
    /// Dropped with the server.
    _node: Option<Box<RealNode>>,
}

/// The kind of a server.
enum Kind {
    InMemory(InMemoryCouch),
    /// A real server that all tests share.
    Shared,
    /// A real server for one test.
    Private,
}

/// A name and a password of this test run; neither is a real secret.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// User name.
    pub name: String,
    /// Password in clear.
    pub password: String,
}

impl Credentials {
    /// Credentials from a name and a password.
    pub fn new(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: password.to_owned() }
    }
}

impl CouchServer {
    /// The server of `COUCHDB_URL`, else a node of `COUCHDB_HOME`, else an in-memory server of the newest
    /// version with one admin.
    pub async fn start() -> Result<Self> {
        if let Ok(text) = std::env::var(URL_VARIABLE)
            && !text.is_empty()
        {
            test_log::used(test_log::What::Real);
            return Self::real(&text);
        }
        match real_couch::shared().await? {
            Some(node) => {
                test_log::used(test_log::What::Real);
                Ok(Self { kind: Kind::Shared, ..node.server() })
            }
            None => Self::in_memory(Options::default()).await,
        }
    }

    /// A server for one test: a node of `COUCHDB_HOME`, or an in-memory server.
    pub async fn alone() -> Result<Self> {
        if !real_couch::has_releases() {
            return Self::in_memory_because(
                Options::default(),
                "it needs a server of its own: name a release in COUCHDB_HOME",
            )
            .await;
        }
        let node = RealBuilder::default().up().await?.context("no release")?;
        let server = node.server();
        Ok(Self { _node: Some(Box::new(node)), ..server })
    }

    /// An in-memory server; if `options.admin` is unset, it gets an admin.
    pub async fn in_memory(options: Options) -> Result<Self> {
        let version = match options.version {
            Version::V1 => "it needs a CouchDB 1.x",
            Version::V2 => "it needs a CouchDB 2.x",
            Version::V3_3 | Version::V3_4 => "it needs another CouchDB 3.x than the newest",
            Version::V3_5 => test_log::NO_REASON,
        };
        Self::in_memory_because(options, version).await
    }

    async fn in_memory_because(options: Options, why: &str) -> Result<Self> {
        test_log::used(test_log::What::InMemory(why.to_owned()));
        let admin = match &options.admin {
            Some((name, password)) => Credentials::new(name, password),
            None => Credentials::new("first_admin", &hex::encode(rand::random::<[u8; 8]>())),
        };
        let server = InMemoryCouch::start(options.admin(&admin.name, &admin.password)).await?;
        let url = Url::parse(&server.url()).context("the in-memory CouchDB has a strange URL")?;
        Ok(Self { url, admin, kind: Kind::InMemory(server), _node: None })
    }

    /// A real server for one test.
    pub(crate) fn private(url: Url, admin: Credentials) -> Self {
        Self { url, admin, kind: Kind::Private, _node: None }
    }

    fn real(text: &str) -> Result<Self> {
        let mut url = Url::parse(text).with_context(|| format!("{URL_VARIABLE} is not a URL"))?;
        let admin =
            Credentials::new(&decoded(url.username())?, &decoded(url.password().unwrap_or_default())?);
        anyhow::ensure!(
            !admin.name.is_empty() && !admin.password.is_empty(),
            "{URL_VARIABLE} must be http://ADMIN:PASSWORD@HOST:PORT"
        );
        anyhow::ensure!(
            admin.name != "root",
            "{URL_VARIABLE} names root, which the tests switch off: give the server an admin of another name"
        );
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        anyhow::ensure!(cleared.is_ok(), "{URL_VARIABLE} must be an http:// URL");
        Ok(Self { url, admin, kind: Kind::Shared, _node: None })
    }

    /// The address without credentials and without a trailing slash.
    pub fn url(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }

    /// A server admin that exists before the agent's bootstrap.
    pub fn admin(&self) -> &Credentials {
        &self.admin
    }

    /// The in-memory server, for injecting faults; `None` for a real server.
    pub fn memory(&self) -> Option<&InMemoryCouch> {
        self.explain();
        match &self.kind {
            Kind::InMemory(server) => Some(server),
            Kind::Shared | Kind::Private => None,
        }
    }

    /// The in-memory server, for stopping and starting it; `None` for a real server.
    pub fn memory_mut(&mut self) -> Option<&mut InMemoryCouch> {
        self.explain();
        match &mut self.kind {
            Kind::InMemory(server) => Some(server),
            Kind::Shared | Kind::Private => None,
        }
    }

    /// Records the reason: a test that accesses the in-memory server itself needs that server.
    fn explain(&self) {
        if let Kind::InMemory(_) = &self.kind {
            let reason = "it injects faults, counts requests or stops the server";
            test_log::used(test_log::What::InMemory(reason.to_owned()));
        }
    }

    /// Whether other tests use this server at the same time.
    pub fn is_shared(&self) -> bool {
        matches!(self.kind, Kind::Shared)
    }

    /// A client for inspecting the server.
    pub fn client(&self) -> Result<CouchClient> {
        CouchClient::new(&self.url())
    }
}

impl std::fmt::Debug for CouchServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CouchServer").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// A bare HTTP client for CouchDB: no retries, no sessions, paths sent as given.
#[derive(Debug, Clone)]
pub struct CouchClient {
    http: reqwest::Client,
    url: String,
}

impl CouchClient {
    /// A client for the server at `url`, which has no trailing slash.
    pub fn new(url: &str) -> Result<Self> {
        // Fails if another test of this process has installed the provider already, which is fine.
        let _installed_before = rustls::crypto::ring::default_provider().install_default().is_err();
        let http = reqwest::Client::builder()
            .timeout(REQUEST_LIMIT)
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { http, url: url.to_owned() })
    }

    /// Sends one request, with Basic credentials if any; the body of the response is `null` unless it is
    /// JSON.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        credentials: Option<&Credentials>,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(Credentials { name, password }) = credentials {
            request = request.basic_auth(name, Some(password));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| format!("CouchDB did not answer on {path}"))?;
        let status = response.status();
        let text = response.text().await.with_context(|| format!("CouchDB cut its answer on {path}"))?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// `GET path`.
    pub async fn get(&self, path: &str, credentials: Option<&Credentials>) -> Result<(StatusCode, Value)> {
        self.request(Method::GET, path, credentials, None).await
    }

    /// `PUT path` with a JSON body.
    pub async fn put(
        &self,
        path: &str,
        credentials: Option<&Credentials>,
        body: &Value,
    ) -> Result<(StatusCode, Value)> {
        self.request(Method::PUT, path, credentials, Some(body)).await
    }

    /// Whether these credentials log in. A failure counts twice towards CouchDB's lockout (five within five
    /// minutes), so use [`CouchClient::refuses`] where a failure is expected.
    pub async fn logs_in(&self, credentials: &Credentials) -> Result<bool> {
        let (status, body) = self.get_patiently("/_session", Some(credentials)).await?;
        Ok(status.is_success() && body["userCtx"]["name"] == credentials.name.as_str())
    }

    /// Whether these credentials are refused now or soon; a refusal counts once towards the lockout.
    pub async fn refuses(&self, credentials: &Credentials) -> Result<bool> {
        let deadline = Instant::now() + 10 * LATE;
        loop {
            let (status, _) = self.get("/_session", Some(credentials)).await?;
            if !status.is_success() || Instant::now() > deadline {
                return Ok(status.is_client_error());
            }
            sleep(LATE / 10).await;
        }
    }

    /// Whether `credentials` (or the anonymous user) may read the database.
    pub async fn reads(&self, database: &str, credentials: Option<&Credentials>) -> Result<bool> {
        Ok(self.get_patiently(&format!("/{database}/_all_docs"), credentials).await?.0.is_success())
    }

    /// Like [`CouchClient::get`], but tries refused credentials once more.
    async fn get_patiently(
        &self,
        path: &str,
        credentials: Option<&Credentials>,
    ) -> Result<(StatusCode, Value)> {
        let answer = self.get(path, credentials).await?;
        if credentials.is_none() || answer.0 != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        sleep(LATE).await;
        self.get(path, credentials).await
    }
}

/// Percent-encodes a name as one path segment.
pub fn escape(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Decodes a percent-encoded name or password of a URL.
fn decoded(text: &str) -> Result<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).context("a % without two hexadecimal digits")?;
        bytes.extend(hex::decode(digits).context("a % without two hexadecimal digits")?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).context("percent-encoded bytes that are not UTF-8")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_admin_of_the_url_may_have_any_name_but_root() {
        let server = CouchServer::real("http://b%C3%B6ss%40x:p%25w%3A@127.0.0.1:5984/").unwrap();
        let Credentials { name, password } = server.admin();
        assert_eq!((name.as_str(), password.as_str()), ("böss@x", "p%w:"));
        assert_eq!(server.url(), "http://127.0.0.1:5984");
        for refused in ["http://root:pw@h:1", "http://h:1", "http://boss@h:1", "not a URL"] {
            assert!(CouchServer::real(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn what_is_escaped_is_decoded_again() {
        let odd = "sla/sh ünï%41+?#";
        assert_eq!(decoded(&escape(odd)).unwrap(), odd);
        for broken in ["%", "a%4", "%zz", "%ff"] {
            assert!(decoded(broken).is_err(), "{broken}");
        }
    }
}
