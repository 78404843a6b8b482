//! The replies of the handlers, and CouchDB's standard refusals word for word.
//!
//! A refusal is a reply too, so handlers can use `?` on it. `server` turns a reply into an HTTP response.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// A status, a few headers and a body.
#[derive(Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(HeaderName, String)>,
    body: String,
    content_type: &'static str,
}

/// A reply with an error.
pub(crate) type Refusal = Reply;

/// The result of every handler.
pub(crate) type Outcome = Result<Reply, Refusal>;

impl Reply {
    /// A JSON body, with the trailing newline that CouchDB sends.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self { status, headers: Vec::new(), body: format!("{body}\n"), content_type: "application/json" }
    }

    /// A body that is sent as JSON without being parsed.
    pub(crate) fn raw(status: u16, body: String) -> Self {
        Self { status, headers: Vec::new(), body, content_type: "application/json" }
    }

    /// 200 with a JSON body.
    pub(crate) fn ok(body: &Value) -> Self {
        Self::json(200, body)
    }

    /// `{"ok":true}`.
    pub(crate) fn done(status: u16) -> Self {
        Self::json(status, &json!({ "ok": true }))
    }

    /// No body at all.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new(), content_type: "" }
    }

    /// A short plain text.
    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned(), content_type: "text/plain" }
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same reply with a different status.
    #[must_use]
    pub(crate) fn under_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The `reason` of a refusal.
    pub(crate) fn reason(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Half of the body, for a truncated answer.
    pub(crate) fn half_body(&self) -> Vec<u8> {
        self.body.as_bytes().iter().take(self.body.len() / 2).copied().collect()
    }

    /// The response, with `body` instead of its own if one is given; the length is always that of its own
    /// body.
    pub(crate) fn into_response(self, server: &str, body: Option<Body>) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let length = self.body.len().to_string();
        let fixed = [
            (header::SERVER, server),
            (header::CACHE_CONTROL, "must-revalidate"),
            (header::CONTENT_TYPE, self.content_type),
            (header::CONTENT_LENGTH, length.as_str()),
        ];
        let own = self.headers.iter().map(|(name, value)| (name.clone(), value.as_str()));
        for (name, value) in fixed.into_iter().chain(own) {
            if let Ok(value) = HeaderValue::from_str(value)
                && !value.is_empty()
            {
                headers.append(name, value);
            }
        }
        *response.body_mut() = body.unwrap_or_else(|| Body::from(self.body));
        response
    }
}

/// CouchDB's refusals.
impl Reply {
    /// An error in CouchDB's format.
    pub(crate) fn error(status: u16, error: &str, reason: &str) -> Refusal {
        Self::json(status, &json!({ "error": error, "reason": reason }))
    }

    /// A crashed handler; `ref` is the number under which a real server logs the stack.
    pub(crate) fn crash(error: &str, reason: &str) -> Refusal {
        let reference = rand::random::<u32>();
        Self::json(500, &json!({ "error": error, "reason": reason, "ref": reference }))
    }

    pub(crate) fn bad_request(reason: &str) -> Refusal {
        Self::error(400, "bad_request", reason)
    }

    pub(crate) fn unauthorized(reason: &str) -> Refusal {
        Self::error(401, "unauthorized", reason)
    }

    pub(crate) fn forbidden(reason: &str) -> Refusal {
        Self::error(403, "forbidden", reason)
    }

    pub(crate) fn wrong_password() -> Refusal {
        Self::unauthorized("Name or password is incorrect.")
    }

    pub(crate) fn not_server_admin() -> Refusal {
        Self::unauthorized("You are not a server admin.")
    }

    pub(crate) fn not_found(reason: &str) -> Refusal {
        Self::error(404, "not_found", reason)
    }

    pub(crate) fn no_database() -> Refusal {
        Self::not_found("Database does not exist.")
    }

    pub(crate) fn conflict() -> Refusal {
        Self::error(409, "conflict", "Document update conflict.")
    }

    pub(crate) fn method_not_allowed(allowed: &str) -> Refusal {
        let reason = format!("Only {allowed} allowed");
        let reply = Self::json(405, &json!({ "error": "method_not_allowed", "reason": reason }));
        reply.with(header::ALLOW, allowed)
    }

    /// A feature that this node does not imitate; a test that gets this reply must use a real server.
    pub(crate) fn not_implemented(what: &str) -> Refusal {
        Self::error(501, "not_implemented", &format!("the in-memory CouchDB has no {what}"))
    }
}
