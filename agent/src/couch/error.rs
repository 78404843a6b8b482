//! What can go wrong between the agent and CouchDB, in the operator's words.
//!
//! The one place that maps CouchDB's answers to errors of ours. No variant holds a request body, a header or a
//! password; `reason` is the server's own text about a name or a document.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

/// What helps where `min_iterations` keeps `os_admin` out (`couch_passwords.erl`, `verify_iterations`).
const TOO_FEW_ROUNDS: &str = "os_admin's hash in CouchDB's ini file has 10 rounds, as its password has 256 random bits: set \
                              min_iterations of [chttpd_auth] to 10 or less";

/// Why a request to CouchDB did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CouchError {
    /// The agent has no working `os_admin` account yet.
    #[error("the agent has no os_admin login on CouchDB yet: {0}")]
    NotBootstrapped(String),
    /// The agent has no working `os_admin` account, and will not have one by itself.
    #[error("the agent has no os_admin login on CouchDB: {0}")]
    NoLogin(String),
    /// Nothing answers.
    #[error("CouchDB at {origin} can't be reached ({reason}); check that the service runs")]
    Unreachable {
        /// Scheme, host and port.
        origin: String,
        /// The transport's own words.
        reason: String,
    },
    /// No connection that can be trusted; nothing was sent.
    #[error("no secure connection to CouchDB at {origin}: {reason}")]
    Insecure {
        /// Scheme, host and port.
        origin: String,
        /// What is wrong with a certificate, or with the files of our own.
        reason: String,
    },
    /// An answer began and did not end.
    #[error("CouchDB at {origin} broke off its answer ({reason})")]
    BrokenOff {
        /// Scheme, host and port.
        origin: String,
        /// The transport's own words.
        reason: String,
    },
    /// No answer in time.
    #[error("CouchDB at {origin} did not answer within {} s", .limit.as_secs_f32())]
    Timeout {
        /// Scheme, host and port.
        origin: String,
        /// How long the agent waited.
        limit: Duration,
    },
    /// 401 to a request without a login.
    #[error("CouchDB wants a login for this (401)")]
    Unauthorized,
    /// 401 to a login: wrong name or password, or not an administrator.
    #[error(
        "CouchDB refused the agent's login (401); the credentials file no longer fits the server: \
         restore the file or set os_admin's password to the file's"
    )]
    LoginRefused,
    /// 403 "temporarily locked": CouchDB 3.4+ after five wrong passwords.
    #[error("CouchDB has locked the account after wrong passwords; it opens again within 5 minutes")]
    LockedOut,
    /// 403 with any other reason.
    #[error("CouchDB forbids it: {0}")]
    Forbidden(String),
    /// 400.
    #[error("CouchDB can't take the request: {0}")]
    BadRequest(String),
    /// 404.
    #[error("CouchDB does not have it: {0}")]
    NotFound(String),
    /// 409.
    #[error("somebody else changed the same document at the same time; try again")]
    Conflict,
    /// 412, a database of that name is there.
    #[error("CouchDB has it already")]
    Exists,
    /// 5xx.
    #[error("CouchDB failed ({status}: {reason})")]
    Server {
        /// The HTTP status.
        status: u16,
        /// The server's own words.
        reason: String,
    },
    /// An answer that CouchDB doesn't give.
    #[error("unexpected answer from CouchDB to {what}: {problem}")]
    Unexpected {
        /// What was asked, without names.
        what: &'static str,
        /// What was odd.
        problem: String,
    },
}

impl CouchError {
    /// The error for a status that is not a success; `body` is what came with it.
    pub(super) fn from_status(status: StatusCode, body: &Value) -> Self {
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        let reason = match (text("reason"), text("error")) {
            ("", "") => format!("HTTP status {}", status.as_u16()),
            ("", error) => error.to_owned(),
            (reason, _) => reason.to_owned(),
        };
        match status.as_u16() {
            400 => Self::BadRequest(reason),
            401 => Self::Unauthorized,
            403 if reason.contains("temporarily locked") => Self::LockedOut,
            403 if reason.starts_with("Iteration count") => {
                Self::Forbidden(format!("{reason}; {TOO_FEW_ROUNDS}"))
            }
            403 => Self::Forbidden(reason),
            404 => Self::NotFound(reason),
            409 => Self::Conflict,
            // The other 412 is a node of the cluster that can't be reached.
            412 if text("error") == "file_exists" => Self::Exists,
            code if code >= 500 => Self::Server { status: code, reason },
            code => Self::Unexpected { what: "a request", problem: format!("HTTP status {code}: {reason}") },
        }
    }

    /// The same error for a request that carried a login.
    pub(super) fn of_a_login(self) -> Self {
        if self == Self::Unauthorized { Self::LoginRefused } else { self }
    }

    /// A short constant label, for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotBootstrapped(_) => "not_bootstrapped",
            Self::NoLogin(_) => "no_login",
            Self::Unreachable { .. } => "unreachable",
            Self::Insecure { .. } => "insecure",
            Self::BrokenOff { .. } => "broken_off",
            Self::Timeout { .. } => "timeout",
            Self::Unauthorized => "unauthorized",
            Self::LoginRefused => "login_refused",
            Self::LockedOut => "locked_out",
            Self::Forbidden(_) => "forbidden",
            Self::BadRequest(_) => "bad_request",
            Self::NotFound(_) => "not_found",
            Self::Conflict => "conflict",
            Self::Exists => "exists",
            Self::Server { .. } => "server_error",
            Self::Unexpected { .. } => "unexpected",
        }
    }

    /// Whether the same command may succeed a little later, without anybody doing anything.
    ///
    /// A refused login is not among them: every further try counts towards CouchDB's lockout.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::NotBootstrapped(_)
                | Self::Unreachable { .. }
                | Self::Insecure { .. }
                | Self::BrokenOff { .. }
                | Self::Timeout { .. }
                | Self::Conflict
                | Self::Server { .. }
        )
    }

    /// Whether CouchDB may have done what was asked although it did not say so.
    ///
    /// False where nothing was sent, and where the answer is that nothing was done.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::BrokenOff { .. } | Self::Timeout { .. } | Self::Server { .. } | Self::Unexpected { .. } => {
                true
            }
            Self::NotBootstrapped(_)
            | Self::NoLogin(_)
            | Self::Unreachable { .. }
            | Self::Insecure { .. }
            | Self::Unauthorized
            | Self::LoginRefused
            | Self::LockedOut
            | Self::Forbidden(_)
            | Self::BadRequest(_)
            | Self::NotFound(_)
            | Self::Conflict
            | Self::Exists => false,
        }
    }

    /// Whether a document was asked for in a database that isn't there (`no_db_file` is 1.x's word for it).
    pub(super) fn is_missing_database(&self) -> bool {
        matches!(self, Self::NotFound(reason) if reason.starts_with("Database") || reason == "no_db_file")
    }

    /// Whether the database is listed and its files are not to be had: CouchDB creates `a.couch` when asked to, and
    /// then answers this for it.
    pub(super) fn is_unopenable(&self) -> bool {
        matches!(self, Self::Server { status: 500, reason } if reason.contains("No DB shards could be opened"))
    }

    /// Whether the server, its software or its data may be another one when it is back.
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::NotBootstrapped(_)
                | Self::Unreachable { .. }
                | Self::Insecure { .. }
                | Self::BrokenOff { .. }
                | Self::Timeout { .. }
        )
    }
}

/// `Ok(None)` for a 404.
pub(super) fn absent_is_none<T>(result: Result<T, CouchError>) -> Result<Option<T>, CouchError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(CouchError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statuses_become_kinds() {
        let cases = [
            (400, json!({"error": "bad_request", "reason": "why"}), "bad_request"),
            (
                401,
                json!({"error": "unauthorized", "reason": "Name or password is incorrect."}),
                "unauthorized",
            ),
            (403, json!({"error": "forbidden", "reason": "Account is temporarily locked."}), "locked_out"),
            (403, json!({"error": "forbidden", "reason": "_security"}), "forbidden"),
            (404, json!({"error": "not_found", "reason": "missing"}), "not_found"),
            (409, json!({}), "conflict"),
            (412, json!({"error": "file_exists"}), "exists"),
            (412, json!({"error": "error", "reason": "no such node"}), "unexpected"),
            (500, json!({"error": "error", "reason": "no_majority"}), "server_error"),
            (503, Value::Null, "server_error"),
            (302, Value::Null, "unexpected"),
        ];
        for (status, body, kind) in cases {
            let status = StatusCode::from_u16(status).unwrap_or_default();
            assert_eq!(CouchError::from_status(status, &body).kind(), kind, "{status}");
        }
    }

    #[test]
    fn a_refused_login_is_never_tried_again() {
        assert!(!CouchError::LoginRefused.is_transient());
        assert!(!CouchError::LockedOut.is_transient());
        assert!(CouchError::Server { status: 503, reason: String::new() }.is_transient());
    }
}
