//! Errors between the agent and CouchDB, worded for the operator.
//!
//! Only this module maps CouchDB's answers to the agent's errors. No variant contains a request body, a
//! header or a password; `reason` is the server's own text about a name or a document.

mod effect;
mod files;

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::reply::{
    login_problem::LoginProblem,
    reason::{CAUSES, NO_MAJORITY, UNOPENABLE, advice, is_of_a_file, one_line, with_help},
};

/// Reasons of a 401 that is not about the password: there was no login, or the account is not an
/// administrator (`chttpd_auth.erl`, `chttpd_auth_request.erl`).
const NOT_ABOUT_THE_PASSWORD: [&str; 2] = ["Authentication required.", "You are not a"];

/// The reason why a request to CouchDB failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CouchError {
    /// The agent has no working `os_admin` account yet.
    #[error("the agent has no os_admin login on CouchDB yet: {0}")]
    NotBootstrapped(String),
    /// The agent has no working `os_admin` account and can't create one by itself.
    #[error("the agent has no os_admin login on CouchDB: {0}")]
    NoLogin(String),
    /// No connection to the server.
    #[error("CouchDB at {origin} can't be reached ({reason}); check that the service runs")]
    Unreachable {
        /// Scheme, host and port.
        origin: String,
        /// The transport's error message.
        reason: String,
    },
    /// The connection is not secure. Nothing was sent.
    #[error("no secure connection to CouchDB at {origin}: {reason}")]
    Insecure {
        /// Scheme, host and port.
        origin: String,
        /// The problem with a certificate or with the agent's own files.
        reason: String,
    },
    /// The connection broke off before the answer was complete.
    #[error("CouchDB at {origin} broke off its answer ({reason})")]
    BrokenOff {
        /// Scheme, host and port.
        origin: String,
        /// The transport's error message.
        reason: String,
    },
    /// No answer in time.
    #[error("CouchDB at {origin} did not answer within {} s", .limit.as_secs_f32())]
    Timeout {
        /// Scheme, host and port.
        origin: String,
        /// The time limit.
        limit: Duration,
    },
    /// 401 to a request without a login.
    #[error("CouchDB requires a login for this (401)")]
    Unauthorized,
    /// 401 to a login: the name or password is wrong.
    #[error(
        "CouchDB refuses the agent's name or password (401): os_admin's password was changed in CouchDB, or os_admin was \
         removed from it; restore the file with the credentials or set os_admin's password to the file's"
    )]
    LoginRefused,
    /// The login does not make the agent an administrator, for a reason other than its password.
    #[error(transparent)]
    LoginUnusable(#[from] LoginProblem),
    /// 403 "temporarily locked": CouchDB 3.4+ after five wrong passwords.
    #[error("CouchDB has locked the account after wrong passwords; it opens again within 5 minutes")]
    LockedOut,
    /// 403 with any other reason.
    #[error("CouchDB forbids it: {0}")]
    Forbidden(String),
    /// 400.
    #[error("CouchDB can't take the request: {0}")]
    BadRequest(String),
    /// 400 with the name of a file system error. The change is in force until CouchDB restarts: seen with
    /// 3.3.3 and 3.5.0.
    #[error(
        "CouchDB can't write its configuration ({0}): check owner, mode and free space of its configuration directory, and \
         whether it is mounted read-only"
    )]
    ConfigNotWritten(String),
    /// 404.
    #[error("CouchDB does not have it: {0}")]
    NotFound(String),
    /// 409.
    #[error("another writer changed the same document at the same time; try again")]
    Conflict,
    /// 412: a database of that name exists.
    #[error("CouchDB has it already")]
    Exists,
    /// `[couchdb] maintenance_mode` is on.
    #[error(
        "CouchDB is in maintenance mode and serves no data: set maintenance_mode of [couchdb] to false when the \
         maintenance is over"
    )]
    Maintenance,
    /// 412 "nodedown".
    #[error(
        "a node of CouchDB does not serve its data ({0}): check maintenance_mode of [couchdb] there, and /_membership"
    )]
    NodeDown(String),
    /// 429, or the pause that a 429 demanded is not over.
    #[error("CouchDB, or a proxy in front of it, takes no more requests at {origin} for now (429{})", shown(.retry_after.as_ref()))]
    TooManyRequests {
        /// Scheme, host and port.
        origin: String,
        /// The remaining pause.
        retry_after: Option<Duration>,
    },
    /// The answer does not come from CouchDB.
    #[error(
        "what answers at {origin} is not CouchDB itself: {seen}; look at the proxy between the agent and CouchDB, or \
         correct couchdb.url"
    )]
    NotCouchDb {
        /// Scheme, host and port.
        origin: String,
        /// The HTTP status.
        status: u16,
        /// A description of the answer without its content.
        seen: String,
    },
    /// `%2F` in a path arrives as `/`: the request would reach a different resource.
    #[error(
        "a proxy between the agent and CouchDB decodes %2F in paths, so a name with a slash would reach something else; \
         nothing was sent. Make the proxy pass paths on as they are, or let couchdb.url name CouchDB itself"
    )]
    PathsRewritten,
    /// 5xx.
    #[error("CouchDB failed ({status}: {reason}){}", advice(.reason))]
    Server {
        /// The HTTP status.
        status: u16,
        /// The server's reason.
        reason: String,
    },
    /// Too many databases could not be opened for a scan of all databases.
    #[error(
        "CouchDB could not open {unknown} of {count} databases, {example:?} among them ({reason}); look at {CAUSES}"
    )]
    Unopenable {
        /// The number of databases that could not be opened.
        unknown: usize,
        /// The number of databases in the scan.
        count: usize,
        /// One of the databases that could not be opened.
        example: String,
        /// CouchDB's reason for that database.
        reason: String,
    },
    /// An answer that does not fit CouchDB's API.
    #[error("unexpected answer from CouchDB to {what}: {problem}")]
    Unexpected {
        /// The request, without names.
        what: &'static str,
        /// The problem with the answer.
        problem: String,
    },
}

impl CouchError {
    /// The error for a failure status with its `body`. `shown` removes what must not be repeated from the
    /// server's reason.
    pub(crate) fn from_status(status: StatusCode, body: &Value, shown: impl Fn(&str) -> String) -> Self {
        // `_bulk_docs` returns one error per document.
        let body = body.get(0).unwrap_or(body);
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        let reason = match (text("reason"), text("error")) {
            ("", "") => format!("HTTP status {}", status.as_u16()),
            ("", error) => one_line(error),
            // Before the text is cut, because a part of a name would not be found.
            (reason, _) => one_line(&shown(reason)),
        };
        match status.as_u16() {
            400 if is_of_a_file(&reason) => Self::ConfigNotWritten(reason),
            400 => Self::BadRequest(reason),
            401 => Self::Unauthorized,
            403 if reason.contains("temporarily locked") => Self::LockedOut,
            403 => Self::Forbidden(with_help(reason)),
            404 if text("status") == "maintenance_mode" => Self::Maintenance,
            404 => Self::NotFound(reason),
            409 => Self::Conflict,
            412 if text("error") == "nodedown" => Self::NodeDown(reason),
            500 if reason.starts_with("{maintenance_mode") => Self::Maintenance,
            412 if text("error") == "file_exists" => Self::Exists,
            code if code >= 500 => Self::Server { status: code, reason },
            code => Self::Unexpected { what: "a request", problem: format!("HTTP status {code}: {reason}") },
        }
    }

    /// The error for a 401 to a request with a login. Unclear cases count as a refusal, because each further
    /// attempt may count towards CouchDB's lockout.
    pub(crate) fn of_a_login(body: &Value) -> Self {
        let reason = body.get("reason").and_then(Value::as_str).unwrap_or_default();
        if NOT_ABOUT_THE_PASSWORD.iter().any(|other| reason.starts_with(other)) {
            return LoginProblem::Unseen(reason.to_owned()).into();
        }
        Self::LoginRefused
    }

    /// Whether CouchDB may have counted a wrong password.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::LoginRefused | Self::NotCouchDb { status: 401, .. })
    }

    /// Whether the error shows that CouchDB accepted the password of the request.
    pub(crate) fn shows_that_it_was_taken(&self) -> bool {
        matches!(
            self,
            Self::BadRequest(_)
                | Self::ConfigNotWritten(_)
                | Self::NotFound(_)
                | Self::Conflict
                | Self::Exists
                | Self::Server { .. }
                | Self::Unexpected { .. }
        )
    }

    /// Whether a proxy reports that it can't reach CouchDB.
    fn is_from_a_gateway(&self) -> bool {
        matches!(self, Self::NotCouchDb { status: 502..=504, .. })
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
            Self::LoginUnusable(_) => "login_unusable",
            Self::LockedOut => "locked_out",
            Self::Forbidden(_) => "forbidden",
            Self::BadRequest(_) => "bad_request",
            Self::ConfigNotWritten(_) => "config_not_written",
            Self::NotFound(_) => "not_found",
            Self::Conflict => "conflict",
            Self::Exists => "exists",
            Self::Maintenance => "maintenance",
            Self::NodeDown(_) => "node_down",
            Self::TooManyRequests { .. } => "too_many_requests",
            Self::NotCouchDb { .. } => "not_couchdb",
            Self::PathsRewritten => "paths_rewritten",
            Self::Server { .. } => "server_error",
            Self::Unopenable { .. } => "unopenable",
            Self::Unexpected { .. } => "unexpected",
        }
    }

    /// Whether the same command may succeed later without intervention.
    ///
    /// A refused login is not transient: each further attempt counts towards CouchDB's lockout.
    pub fn is_transient(&self) -> bool {
        self.is_outage()
            || matches!(
                self,
                Self::Conflict
                    | Self::Maintenance
                    | Self::NodeDown(_)
                    | Self::TooManyRequests { .. }
                    | Self::NotCouchDb { status: 500.., .. }
                    | Self::Server { .. }
                    | Self::Unopenable { .. }
            )
    }

    /// Whether the server, its software or its data may be different when it answers again.
    pub fn is_outage(&self) -> bool {
        self.is_from_a_gateway()
            || matches!(
                self,
                Self::NotBootstrapped(_)
                    | Self::Unreachable { .. }
                    | Self::Insecure { .. }
                    | Self::BrokenOff { .. }
                    | Self::Timeout { .. }
            )
    }

    /// Whether a document was requested in a missing database (1.x reports `no_db_file`).
    pub(crate) fn is_missing_database(&self) -> bool {
        matches!(self, Self::NotFound(reason) if reason.starts_with("Database") || reason == "no_db_file")
    }

    /// Whether CouchDB lists the database but can't open its files.
    pub(crate) fn is_unopenable(&self) -> bool {
        matches!(self, Self::Server { status: 500, reason } if reason.contains(UNOPENABLE))
    }

    /// Whether a `_security` was written on too few nodes, or on none.
    pub(crate) fn is_no_majority(&self) -> bool {
        matches!(self, Self::Server { status: 500, reason } if reason == NO_MAJORITY)
    }

    /// Whether a CouchDB in maintenance mode may be the cause of this error.
    pub(crate) fn may_be_maintenance(&self) -> bool {
        matches!(self, Self::NodeDown(_) | Self::Unopenable { .. }) || self.is_unopenable()
    }
}

fn shown(retry_after: Option<&Duration>) -> String {
    retry_after.map(|pause| format!("; the next one in {} s", pause.as_secs_f32().ceil())).unwrap_or_default()
}

/// `Ok(None)` for a 404.
pub(crate) fn absent_is_none<T>(result: Result<T, CouchError>) -> Result<Option<T>, CouchError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(CouchError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "error/tests.rs"]
mod tests;
