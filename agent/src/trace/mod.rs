//! Spans: what a command took its time for, to be looked at in a collector of OpenTelemetry.
//!
//! ```text
//! command                    from its arrival to its acknowledgement; one that is refused has only an answer
//! +- turn                    waits for earlier commands on the same user or database
//! +- attempt                 one run; several if CouchDB is away
//! |  +- couchdb              one request
//! +- answer                  until the broker has confirmed it
//! ```
//!
//! They hold the words of a fixed set, the ids that the log has too, and no name, path or text of anybody. They are none of
//! the log's business: its filter leaves them out (`log.rs`). What nobody exports costs the load of a number.

#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
mod without;

use std::fmt;

use tracing::{
    Span,
    field::{self, Empty},
    info_span,
};

#[cfg(feature = "otlp")]
pub use otlp::Export;
#[cfg(not(feature = "otlp"))]
pub use without::Export;

/// The target of these spans, and of nothing else.
pub const TARGET: &str = "trove_couchdb_agent::span";

/// An id of a request is a text of somebody else's; Trove's have 40 characters.
const LONGEST_ID: usize = 80;

/// One command, which is run or refused; its method is a word of a fixed set. Ends with [`end`].
pub fn command(method: &'static str, request_id: Option<&str>, redelivered: bool) -> Span {
    info_span!(
        target: TARGET,
        parent: None,
        "command",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.method = method,
        rpc.system = "oslo.messaging",
        request_id = request_id.map(short_id),
        redelivered,
        outcome = Empty,
    )
}

/// How a command or a request ended, in a word of a fixed set. A span of something else stays as it is.
pub fn end(span: &Span, outcome: impl fmt::Display, went_well: bool) {
    span.record("outcome", field::display(outcome));
    if !went_well {
        span.record("otel.status_code", "ERROR");
    }
}

/// A command waits for its turn.
pub fn turn() -> Span {
    info_span!(target: TARGET, "turn")
}

/// A command is run once.
pub fn attempt() -> Span {
    info_span!(target: TARGET, "attempt")
}

/// A command's answer is on its way.
pub fn answer() -> Span {
    info_span!(target: TARGET, "answer")
}

/// A request to CouchDB for a thing of this class. Ends with [`end`].
pub fn couch_request(method: &str, class: &'static str) -> Span {
    info_span!(
        target: TARGET,
        "couchdb",
        otel.name = class,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = "couchdb",
        http.request.method = method,
        outcome = Empty,
    )
}

/// An id in a length that does no harm to a log or a collector.
pub fn short_id(id: &str) -> String {
    id.chars().take(LONGEST_ID).collect()
}
