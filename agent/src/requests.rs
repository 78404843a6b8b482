//! The client of CouchDB, and what it observes of its requests: counts each one, and opens a span for it
//! inside its command's span.

use std::sync::Arc;

use tracing::Span;
use trove_couchdb_config::CouchSettings;

use crate::{
    couch::{Client, Exchange, Limits, Observer},
    metrics::{CouchStatus, Metrics},
    trace,
};

/// A client whose requests are counted and traced.
pub fn client(settings: &CouchSettings, metrics: Metrics) -> Client {
    let limits = Limits {
        connect: settings.connect_timeout,
        request: settings.request_timeout,
        connections: settings.max_connections,
    };
    Client::new(&settings.url, limits, settings.tls.clone()).observed(Arc::new(Requests(metrics)))
}

/// Counts and traces.
#[derive(Debug)]
struct Requests(Metrics);

impl Observer for Requests {
    fn begins(&self, method: &str, class: &'static str) -> Span {
        trace::couch_request(method, class)
    }

    fn ends(&self, span: &Span, exchange: &Exchange) {
        let status = exchange.status.map_or_else(CouchStatus::of_failure, CouchStatus::of_code);
        trace::end(span, status, exchange.went_well);
        self.0.couch_request(exchange.class, status, exchange.took);
    }
}
