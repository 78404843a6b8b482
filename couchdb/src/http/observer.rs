//! The observer of exchanges with CouchDB, for metrics and spans.

use std::{
    fmt,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use tracing::Span;

use crate::reply::error::CouchError;

/// A finished exchange.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    /// The kind of resource, from a fixed set of words.
    pub class: &'static str,
    /// The status of the answer, or the kind of failure.
    pub status: Result<u16, &'static str>,
    /// Whether the request succeeded.
    pub went_well: bool,
    /// The duration.
    pub took: Duration,
}

/// Is notified of every exchange. The data contains no names, paths or other texts of users.
pub trait Observer: fmt::Debug + Send + Sync {
    /// An exchange begins. Returns its span.
    fn begins(&self, method: &str, class: &'static str) -> Span;

    /// The exchange is finished.
    fn ends(&self, span: &Span, exchange: &Exchange);
}

/// A running exchange and its observer.
pub(super) struct Watch<'a> {
    observer: Option<&'a dyn Observer>,
    class: &'static str,
    begun: Instant,
    pub(super) span: Span,
    /// Set as soon as it is known.
    pub(super) status: Option<StatusCode>,
}

impl<'a> Watch<'a> {
    pub(super) fn begin(observer: Option<&'a dyn Observer>, method: &str, class: &'static str) -> Self {
        let span = observer.map_or_else(Span::none, |observer| observer.begins(method, class));
        Self { observer, class, begun: Instant::now(), span, status: None }
    }

    pub(super) fn end<T>(self, answer: &Result<T, CouchError>) {
        let Some(observer) = self.observer else { return };
        let status = match answer {
            // This includes an answer that broke off.
            Err(error) if self.status.is_none() || error.is_outage() => Err(error.kind()),
            _ => Ok(self.status.map_or(0, |status| status.as_u16())),
        };
        let (went_well, took) = (answer.is_ok(), self.begun.elapsed());
        observer.ends(&self.span, &Exchange { class: self.class, status, went_well, took });
    }
}
