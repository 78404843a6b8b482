//! Metric labels; each has a fixed set of values.

use std::fmt::{self, Write};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use trove_couchdb_protocol::trove::Method;

/// Replaces a method that the guest API does not have: a sender may write anything there.
const UNKNOWN: &str = "unknown";

/// The statuses of CouchDB and of a proxy in front of it; all others count as one.
const STATUSES: [u16; 23] = [
    200, 201, 202, 301, 302, 304, 400, 401, 403, 404, 405, 406, 408, 409, 412, 413, 415, 429, 500, 502, 503,
    504, 507,
];

/// The label of a method; `None` is a message that names no method of the guest API.
pub fn method_word(method: Option<Method>) -> &'static str {
    method.map_or(UNKNOWN, Method::name)
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It succeeded.
    Ok,
    /// It began and failed. Some of its effects may remain.
    Failed,
    /// It was not begun.
    Refused,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Refused => "refused",
        })
    }
}

impl EncodeLabelValue for Ending {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        write!(encoder, "{self}")
    }
}

/// CouchDB's response: a status, or the kind of failure if there was no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CouchStatus(Answer);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Answer {
    Status(u16),
    OtherStatus,
    None(&'static str),
}

impl CouchStatus {
    /// CouchDB answered with this status.
    pub fn of_code(code: u16) -> Self {
        Self(if STATUSES.contains(&code) { Answer::Status(code) } else { Answer::OtherStatus })
    }

    /// CouchDB did not answer, for this kind of reason.
    pub fn of_failure(kind: &'static str) -> Self {
        Self(Answer::None(kind))
    }
}

impl fmt::Display for CouchStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Answer::Status(code) => write!(f, "{code}"),
            Answer::OtherStatus => f.write_str("other"),
            Answer::None(kind) => f.write_str(kind),
        }
    }
}

impl EncodeLabelValue for CouchStatus {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        write!(encoder, "{self}")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EndedLabels {
    method: &'static str,
    outcome: Ending,
}

impl EndedLabels {
    pub(super) fn new(method: Option<Method>, outcome: Ending) -> Self {
        Self { method: method_word(method), outcome }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct MethodLabels {
    method: &'static str,
}

impl MethodLabels {
    pub(super) fn new(method: Option<Method>) -> Self {
        Self { method: method_word(method) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) endpoint: &'static str,
    pub(super) status: CouchStatus,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EndpointLabels {
    pub(super) endpoint: &'static str,
}
