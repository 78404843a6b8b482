//! Limits and observes requests to CouchDB: counts each one, and opens a span for it inside its command's span.

use tracing::Span;
use trove_couchdb_config::CouchSettings;

use crate::{
    couch::{Exchange, Limits, Observer},
    metrics::{CouchStatus, Metrics},
    trace,
};

/// Counts and traces.
#[derive(Debug)]
pub struct Requests(pub Metrics);

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

/// The limits that the configuration sets.
pub fn limits(settings: &CouchSettings) -> Limits {
    Limits {
        connect: settings.connect_timeout,
        request: settings.request_timeout,
        connections: settings.max_connections,
    }
}
