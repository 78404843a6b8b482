//! Who is told of each exchange with CouchDB: to count it, or to make a span of it.

use std::{fmt, time::Duration};

use tracing::Span;

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
