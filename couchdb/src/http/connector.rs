//! Creates connections to CouchDB: with time limits, no proxy, no redirects, and TLS if the URL says so.
//!
//! `client` uses it for each request. The TLS files are read for the first request, and again after each
//! failure that they may have caused. So the agent starts without them and notices repairs.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::redirect;
use trove_couchdb_system::tls::{self, ClientConfig, Files, Peer};
use url::Url;

/// The time limits and the number of concurrent requests.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To open a connection.
    pub connect: Duration,
    /// For a whole exchange, or for each piece of a stream.
    pub request: Duration,
    /// The number of concurrent requests of all commands together.
    pub connections: usize,
}

#[derive(Debug)]
pub(crate) struct Connector {
    /// The host that a certificate must match, and its port. `None` for http.
    secured: Option<(String, u16)>,
    files: Files,
    limits: Limits,
    /// `None` if the TLS files must be read.
    http: Mutex<Option<reqwest::Client>>,
}

impl Connector {
    pub(crate) fn new(url: &Url, limits: Limits, files: Files) -> Self {
        // An IPv6 address has brackets in a URL but not in a certificate.
        let host = url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned());
        let place = host.zip(url.port_or_known_default());
        let secured = place.filter(|_| url.scheme() == "https");
        Self { secured, files, limits, http: Mutex::new(None) }
    }

    /// The connection pool, or the reason why it can't be created.
    pub(crate) async fn http(&self) -> Result<reqwest::Client, String> {
        if let Some(http) = &*self.lock() {
            return Ok(http.clone());
        }
        let config = match self.secured {
            Some(_) => tls::client_config(&self.files).await,
            None => tls::nobody_trusted(),
        };
        let http = build(self.limits, config.map_err(|error| error.to_string())?)
            .map_err(|error| innermost(&error))?;
        *self.lock() = Some(http.clone());
        Ok(http)
    }

    /// The reason why nothing was sent, if TLS is the cause. The next request then reads the files again.
    pub(crate) fn why_insecure(&self, error: &reqwest::Error) -> Option<String> {
        let (host, _) = self.secured.as_ref()?;
        let cause = tls::cause(error)?;
        // Other errors occur in the middle of an exchange, which may have taken effect.
        if !error.is_connect() && !tls::refuses_us(cause) {
            return None;
        }
        self.read_anew();
        Some(tls::explain(cause, self.peer(host)))
    }

    /// The reason why an exchange broke off.
    pub(crate) async fn why_broken_off(&self, error: &reqwest::Error) -> String {
        let reason = innermost(error);
        let Some((host, port)) = &self.secured else {
            // hyper's message when a TLS server answers a plain request with a TLS alert.
            let is_no_http = reason.starts_with("invalid HTTP");
            let hint = "what answers there is not HTTP; if it is TLS, couchdb.url must begin with https://";
            return if is_no_http { hint.to_owned() } else { reason };
        };
        let Some(complaint) = tls::complaint(self.peer(host), *port).await else { return reason };
        self.read_anew();
        complaint
    }

    fn peer<'a>(&'a self, host: &'a str) -> Peer<'a> {
        Peer { section: "couchdb", host, files: &self.files }
    }

    fn read_anew(&self) {
        drop(mem::take(&mut *self.lock()));
    }

    /// A poisoned lock is safe to use: a client is either complete or absent.
    fn lock(&self) -> MutexGuard<'_, Option<reqwest::Client>> {
        self.http.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn build(limits: Limits, config: ClientConfig) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .redirect(redirect::Policy::none())
        .connect_timeout(limits.connect)
        .pool_max_idle_per_host(limits.connections)
        .tcp_nodelay(true)
        .tls_backend_preconfigured(config)
        .build()
}

/// The last cause in the chain: "connection refused" is more useful than "error sending request", and
/// reqwest's own text would repeat the URL with the user's name.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
