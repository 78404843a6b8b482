//! Who is told of each exchange with CouchDB: to count it, or to make a span of it.

use std::{
    fmt,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use tracing::Span;

use crate::reply::error::CouchError;

/// One exchange that is over.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    /// The kind of thing that was asked for, a word of a fixed set.
    pub class: &'static str,
    /// The status of the answer, or the kind of failure in its place.
    pub status: Result<u16, &'static str>,
    /// Whether it brought what was asked for.
    pub went_well: bool,
    /// How long it took.
    pub took: Duration,
}

/// Hears of every exchange. Neither is told of a name, a path or a text of anybody.
pub trait Observer: fmt::Debug + Send + Sync {
    /// One begins: the span that it is a part of.
    fn begins(&self, method: &str, class: &'static str) -> Span;

    /// It is over.
    fn ends(&self, span: &Span, exchange: &Exchange);
}

/// One exchange under way, and who is told of its end.
pub(super) struct Watch<'a> {
    observer: Option<&'a dyn Observer>,
    class: &'static str,
    begun: Instant,
    pub(super) span: Span,
    /// As soon as it is known.
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
            // Also when an answer began and did not end.
            Err(error) if self.status.is_none() || error.is_outage() => Err(error.kind()),
            _ => Ok(self.status.map_or(0, |status| status.as_u16())),
        };
        let (went_well, took) = (answer.is_ok(), self.begun.elapsed());
        observer.ends(&self.span, &Exchange { class: self.class, status, went_well, took });
    }
}
