//! Serves `/metrics`, `/healthz` and `/readyz` to Prometheus and health checks, over TCP or a Unix socket.
//!
//! ```text
//! accept, if a slot is free -> one request, within limits -> metrics::text, or a short text -> close
//! ```
//!
//! A client can read three pages and change nothing. `/metrics` requests CouchDB's own figures, at most every
//! few seconds and with a limited number of requests (`figures`); the other pages send no request. Connections,
//! the size of a request and its duration are limited.
//!
//! The only user of `hyper`.

mod figures;
mod pages;
mod place;

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

pub use figures::CouchFigures;
pub use pages::Pages;
use place::{Place, Stream};
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
    pages: Arc<Pages>,
}

impl Monitor {
    /// Creates a server that does not listen yet.
    pub fn new(settings: MetricsSettings, pages: Pages) -> Self {
        Self { settings, pages: Arc::new(pages) }
    }

    /// Serves forever. If the socket cannot be opened, the agent goes on: its purpose is to serve Trove.
    pub async fn run(self) {
        let Some(listen) = &self.settings.listen else { return std::future::pending().await };
        let mut told = String::new();
        let place = loop {
            match Place::open(listen, self.settings.group.as_deref()).await {
                Ok(place) => break place,
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
        info!(%place, "Serving metrics.");
        match self.accept_all(&place).await {}
    }

    async fn accept_all(&self, place: &Place) -> Infallible {
        let places = Arc::new(Semaphore::new(self.settings.max_connections));
        let mut serving = JoinSet::new();
        loop {
            // Acquired before the next accept: further connections wait in the kernel's queue.
            let permit = Arc::clone(&places).acquire_owned().await;
            while serving.try_join_next().is_some() {}
            let pages = Arc::clone(&self.pages);
            // Dropping the set stops the tasks.
            let _task = match place.accept().await {
                Ok(Stream::Tcp(stream)) => serving.spawn(serve(stream, pages, permit)),
                Ok(Stream::Unix(stream)) => serving.spawn(serve(stream, pages, permit)),
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
async fn serve<S, P>(stream: S, pages: Arc<Pages>, _permit: P)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(request.method(), request.uri().path()).await) }
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
