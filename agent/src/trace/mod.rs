//! Spans that show where a command spends its time, for a collector of OpenTelemetry.
//!
//! ```text
//! command                    from its arrival to its acknowledgement; a refused command has only an answer
//! +- turn                    waits for earlier commands on the same user or database
//! +- attempt                 one run; several if CouchDB is down
//! |  +- couchdb              one request
//! +- answer                  until the broker has confirmed the answer
//! ```
//!
//! Spans contain values from fixed sets and the ids that the log also contains, but no names, paths or texts
//! from outside. The log's filter excludes spans (`log.rs`). A span that is not exported costs one read of a
//! number.

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

/// The target of these spans only.
pub const TARGET: &str = "trove_couchdb_agent::span";

/// The longest request id in a span: the id comes from outside. Trove's have 40 characters.
const LONGEST_ID: usize = 80;

/// One command, run or refused; its method is from a fixed set. Close it with [`end`].
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

/// Records how a command or a request ended, as a value from a fixed set. Other spans stay as they are.
pub fn end(span: &Span, outcome: impl fmt::Display, went_well: bool) {
    span.record("outcome", field::display(outcome));
    if !went_well {
        span.record("otel.status_code", "ERROR");
    }
}

/// The wait for a command's lock.
pub fn lock_wait() -> Span {
    info_span!(target: TARGET, "turn")
}

/// One run of a command.
pub fn attempt() -> Span {
    info_span!(target: TARGET, "attempt")
}

/// The publication of a command's answer.
pub fn answer() -> Span {
    info_span!(target: TARGET, "answer")
}

/// A request to CouchDB for an object of this class. Close it with [`end`].
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

/// Shortens an id to a length that is safe for a log or a collector.
pub fn short_id(id: &str) -> String {
    id.chars().take(LONGEST_ID).collect()
}
