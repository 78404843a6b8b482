//! What can go wrong between the agent and CouchDB, in the operator's words.
//!
//! The one place that maps CouchDB's answers to errors of ours. No variant holds a request body, a header or a
//! password; `reason` is the server's own text about a name or a document.

mod effect;

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::reply::{
    login_problem::LoginProblem,
    reason::{CAUSES, NO_MAJORITY, UNOPENABLE, advice, is_of_a_file, one_line, with_help},
};

/// 401 because nobody logged in, or nobody who may do this: the password was not looked at, or was right
/// (`chttpd_auth.erl`, `chttpd_auth_request.erl`).
const NOT_ABOUT_THE_PASSWORD: [&str; 2] = ["Authentication required.", "You are not a"];

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
    /// 401 to a login: name or password is wrong.
    #[error(
        "CouchDB refuses the agent's name or password (401): os_admin's password was changed in CouchDB, or os_admin was \
         removed from it; restore the file with the credentials or set os_admin's password to the file's"
    )]
    LoginRefused,
    /// The login is not an administrator's to CouchDB, for another reason than its password.
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
    /// 400 with the name of a file system's error. The change is in force until CouchDB restarts: seen with 3.3.3 and 3.5.0.
    #[error(
        "CouchDB can't write its configuration ({0}): check owner, mode and free space of its configuration directory, and \
         whether it is mounted read-only"
    )]
    ConfigNotWritten(String),
    /// 404.
    #[error("CouchDB does not have it: {0}")]
    NotFound(String),
    /// 409.
    #[error("somebody else changed the same document at the same time; try again")]
    Conflict,
    /// 412, a database of that name is there.
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
    /// 429, or the pause that one asked for is not over.
    #[error("CouchDB, or a proxy in front of it, takes no more requests at {origin} for now (429{})", shown(.retry_after.as_ref()))]
    TooManyRequests {
        /// Scheme, host and port.
        origin: String,
        /// How long nothing shall be sent.
        retry_after: Option<Duration>,
    },
    /// An answer that CouchDB does not give.
    #[error(
        "what answers at {origin} is not CouchDB itself: {seen}; look at the proxy between the agent and CouchDB, or \
         correct couchdb.url"
    )]
    NotCouchDb {
        /// Scheme, host and port.
        origin: String,
        /// The HTTP status.
        status: u16,
        /// What came, without its content.
        seen: String,
    },
    /// `%2F` in a path arrives as `/`: the request would be for something else.
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
        /// The server's own words.
        reason: String,
    },
    /// Too many databases could not be opened for an answer about all of them.
    #[error(
        "CouchDB could not open {unknown} of {count} databases, {example:?} among them ({reason}); look at {CAUSES}"
    )]
    Unopenable {
        /// How many could not be opened.
        unknown: usize,
        /// How many were asked.
        count: usize,
        /// One of them.
        example: String,
        /// What CouchDB said of it.
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
    /// The error for a status that is not a success; `body` is what came with it. `shown` makes of the server's words
    /// what may be repeated of them.
    pub(crate) fn from_status(status: StatusCode, body: &Value, shown: impl Fn(&str) -> String) -> Self {
        // `_bulk_docs` answers with one for each document.
        let body = body.get(0).unwrap_or(body);
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        let reason = match (text("reason"), text("error")) {
            ("", "") => format!("HTTP status {}", status.as_u16()),
            ("", error) => one_line(error),
            // Before it is cut: half a name would not be found.
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

    /// The error for a 401 to a request that carried a login. What can't be told counts as a refusal: each further try
    /// may count towards CouchDB's lockout.
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

    /// Whether CouchDB has looked at the password of a request and taken it.
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

    /// Whether a proxy says that it does not reach CouchDB.
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

    /// Whether the same command may succeed a little later, without anybody doing anything.
    ///
    /// A refused login is not among them: every further try counts towards CouchDB's lockout.
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

    /// Whether the server, its software or its data may be another one when it is back.
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

    /// Whether a document was asked for in a database that isn't there (`no_db_file` is 1.x's word for it).
    pub(crate) fn is_missing_database(&self) -> bool {
        matches!(self, Self::NotFound(reason) if reason.starts_with("Database") || reason == "no_db_file")
    }

    /// Whether the database is listed and its files can't be opened.
    pub(crate) fn is_unopenable(&self) -> bool {
        matches!(self, Self::Server { status: 500, reason } if reason.contains(UNOPENABLE))
    }

    /// Whether a `_security` was written on too few nodes, or on none.
    pub(crate) fn is_no_majority(&self) -> bool {
        matches!(self, Self::Server { status: 500, reason } if reason == NO_MAJORITY)
    }

    /// Whether a CouchDB in maintenance mode answers so, which does not say so.
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
