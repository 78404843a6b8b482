//! Serves `/metrics`, `/healthz` and `/readyz` to Prometheus and health checks, over TCP or a Unix socket.
//!
//! ```text
//! accept, if a slot is free -> one request, within limits -> metrics::text, or a short text -> close
//! ```
//!
//! A client can read three pages and change nothing. Serving them sends no request to CouchDB or to the
//! broker. Connections, the size of a request and its duration are limited.
//!
//! The only user of `hyper`.

mod endpoint;
mod routes;

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    task::JoinSet,
    time,
};
use tracing::{debug, info, warn};

use endpoint::{Endpoint, Stream};
pub use routes::Routes;
use trove_couchdb_config::MetricsSettings;

/// How long a client may take to send its request.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// How long a connection may take in total.
const DONE_WITHIN: Duration = Duration::from_secs(15);

/// The minimum that hyper allows; a request for a page has some hundred bytes.
const MAX_REQUEST_BYTES: usize = 8192;

const MAX_HEADERS: usize = 64;

/// The delay before the agent tries again to open the socket.
const RETRY: Duration = Duration::from_secs(5);

/// The delay after a failed accept: most likely no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The server.
#[derive(Debug)]
pub struct Monitor {
    settings: MetricsSettings,
    routes: Arc<Routes>,
}

impl Monitor {
    /// Creates a server that does not listen yet.
    pub fn new(settings: MetricsSettings, routes: Routes) -> Self {
        Self { settings, routes: Arc::new(routes) }
    }

    /// Serves forever. If the socket cannot be opened, the agent goes on: its purpose is to serve Trove.
    pub async fn run(self) {
        let Some(listen) = &self.settings.listen else { return std::future::pending().await };
        let mut told = String::new();
        let endpoint = loop {
            match Endpoint::open(listen, self.settings.group.as_deref()).await {
                Ok(endpoint) => break endpoint,
                Err(error) => {
                    let reason = error.to_string();
                    if reason != told {
                        warn!(reason, "No place for metrics; trying again.");
                    }
                    told = reason;
                }
            }
            time::sleep(RETRY).await;
        };
        info!(%endpoint, "Serving metrics.");
        match self.accept_all(&endpoint).await {}
    }

    async fn accept_all(&self, endpoint: &Endpoint) -> Infallible {
        let places = Arc::new(Semaphore::new(self.settings.max_connections));
        let mut serving = JoinSet::new();
        loop {
            // Acquired before the next accept: further connections wait in the kernel's queue.
            let permit = Arc::clone(&places).acquire_owned().await;
            while serving.try_join_next().is_some() {}
            let routes = Arc::clone(&self.routes);
            // Dropping the set stops the tasks.
            let _task = match endpoint.accept().await {
                Ok(Stream::Tcp(stream)) => serving.spawn(serve(stream, routes, permit)),
                Ok(Stream::Unix(stream)) => serving.spawn(serve(stream, routes, permit)),
                Err(error) => {
                    warn!(%error, "A connection for metrics could not be accepted.");
                    time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
        }
    }
}

/// Answers one request. Holds the permit until it returns.
async fn serve<S, P>(stream: S, routes: Arc<Routes>, _permit: P)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let routes = Arc::clone(&routes);
        async move { Ok::<_, Infallible>(routes.answer(request.method(), request.uri().path())) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WITHIN)
        .max_buf_size(MAX_REQUEST_BYTES)
        .max_headers(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match time::timeout(DONE_WITHIN, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "A client of the metrics is not understood, or gone."),
        Err(_) => debug!("A client of the metrics is too slow."),
    }
}
