//! What connections to CouchDB are made with: the limits, no proxy, no redirects, and TLS if the URL says so.
//!
//! Used by `client` for each request. The files of TLS are read when the first request needs them, and again after each
//! failure that they may be to blame for: the agent starts without them, and notices that somebody has repaired them.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::redirect;
use trove_couchdb_system::tls::{self, ClientConfig, Files, Peer};
use url::Url;

/// How long to wait for CouchDB, and how much to ask of it at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a connection to stand.
    pub connect: Duration,
    /// For a whole exchange, or for each piece of a stream.
    pub request: Duration,
    /// Requests under way at once, all commands together.
    pub connections: usize,
}

#[derive(Debug)]
pub(crate) struct Connector {
    /// The host that a certificate must be for, and its port; `None` for http.
    secured: Option<(String, u16)>,
    files: Files,
    limits: Limits,
    /// `None` while the files are to be read.
    http: Mutex<Option<reqwest::Client>>,
}

impl Connector {
    pub(crate) fn new(url: &Url, limits: Limits, files: Files) -> Self {
        // A URL has an IPv6 address in brackets, a certificate has none.
        let host = url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned());
        let place = host.zip(url.port_or_known_default());
        let secured = place.filter(|_| url.scheme() == "https");
        Self { secured, files, limits, http: Mutex::new(None) }
    }

    /// The pool of connections; the error is the reason why there can be none.
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

    /// Why nothing was sent, if TLS has to do with it; the next request reads the files anew then.
    pub(crate) fn why_insecure(&self, error: &reqwest::Error) -> Option<String> {
        let (host, _) = self.secured.as_ref()?;
        let cause = tls::cause(error)?;
        // Anything else went wrong in the middle of an exchange, which may have taken effect.
        if !error.is_connect() && !tls::refuses_us(cause) {
            return None;
        }
        self.read_anew();
        Some(tls::explain(cause, self.peer(host)))
    }

    /// Why an exchange broke off.
    pub(crate) async fn why_broken_off(&self, error: &reqwest::Error) -> String {
        let reason = innermost(error);
        let Some((host, port)) = &self.secured else {
            // What hyper says when a TLS server complains in its own protocol about a request in clear.
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

    /// A poisoned lock only says that somebody panicked; a client is whole or not there.
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

/// The last cause in the chain: "connection refused" says more than "error sending request", and reqwest's own
/// text would repeat the URL with the user's name in it.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
