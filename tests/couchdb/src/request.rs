//! A request as CouchDB sees it: raw target, decoded path segments, query, headers and the whole body.
//!
//! An HTTP router does not fit: CouchDB splits the path *before* it decodes it, so that `%2F` is part of a
//! name and `..` is not special, drops empty segments, and turns `+` into a blank (upstream: `chttpd.erl`,
//! `mochiweb_util:unquote`). `server` creates it for each request.

use axum::body::Bytes;
use axum::http::HeaderMap;
use percent_encoding::percent_decode;
use serde_json::Value;

use crate::reply::{Refusal, Reply};

/// One request with its complete body.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query exactly as sent.
    pub(crate) target: String,
    /// The decoded, non-empty segments of the path.
    pub(crate) segments: Vec<String>,
    query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The peer's address, without its port.
    pub(crate) peer: String,
}

impl Request {
    /// Splits and decodes; an invalid escape is CouchDB's 400 `invalid_url_encoding`.
    pub(crate) fn new(
        method: &str,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
        peer: String,
    ) -> Result<Self, Refusal> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let segments = path.split('/').filter(|segment| !segment.is_empty()).map(unquote);
        let segments: Option<Vec<String>> = segments.collect();
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((unquote(key)?, unquote(value)?))
        });
        let query: Option<Vec<(String, String)>> = pairs.collect();
        let (Some(segments), Some(query)) = (segments, query) else {
            return Err(Reply::bad_request("invalid_url_encoding"));
        };
        Ok(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            segments,
            query,
            headers,
            body,
            peer,
        })
    }

    /// The segments as a slice that patterns can match.
    pub(crate) fn path(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// `HEAD` is answered as `GET`; hyper omits the body.
    pub(crate) fn verb(&self) -> &str {
        if self.method == "HEAD" { "GET" } else { &self.method }
    }

    /// The first query parameter of this name.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a header, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, Refusal> {
        serde_json::from_slice(&self.body).map_err(|_| Reply::bad_request("invalid UTF-8 JSON"))
    }

    /// The body of a POST as JSON: CouchDB requires the content type there, and nowhere else.
    pub(crate) fn posted_json(&self) -> Result<Value, Refusal> {
        if !self.content_type().starts_with("application/json") {
            let reason = "Content-Type must be application/json";
            return Err(Reply::error(415, "bad_content_type", reason));
        }
        self.json()
    }

    /// The content type, empty if none was sent.
    pub(crate) fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    /// Whether the body contains a plain password, in a `password` field or as an `[admins]` value.
    pub(crate) fn carries_password(&self) -> bool {
        fn anywhere(value: &Value) -> bool {
            match value {
                Value::Object(members) => members
                    .iter()
                    .any(|(key, value)| (key == "password" && value.is_string()) || anywhere(value)),
                Value::Array(items) => items.iter().any(anywhere),
                _ => false,
            }
        }
        match self.json() {
            Ok(Value::String(text)) => {
                let section = self.segments.iter().rev().nth(1);
                self.method == "PUT" && section.is_some_and(|name| name == "admins") && !text.starts_with('-')
            }
            Ok(value) => anywhere(&value),
            // The only other format with passwords is the form of `POST /_session`.
            Err(_) => {
                String::from_utf8_lossy(&self.body).split('&').any(|pair| pair.starts_with("password="))
            }
        }
    }
}

/// Decodes `%XX` and `+`; `None` for an invalid escape. Invalid UTF-8 becomes replacement characters.
pub(crate) fn unquote(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let escape = bytes.get(at + 1..at + 3);
        if *byte == b'%' && !escape.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return None;
        }
    }
    let spaced = text.replace('+', " ");
    Some(percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn request(target: &str) -> Result<Request, Refusal> {
        Request::new("GET", target, HeaderMap::new(), Bytes::new(), String::new())
    }

    #[test]
    fn names_are_decoded_after_the_path_is_split() {
        assert_eq!(request("/a%2Fb/doc").unwrap().path(), ["a/b", "doc"]);
        assert_eq!(request("//a//..//d/").unwrap().path(), ["a", "..", "d"]);
        assert_eq!(request("/a+b?key=%22x%22&flag").unwrap().path(), ["a b"]);
        assert_eq!(request("/a?key=%22x%22").unwrap().param("key"), Some("\"x\""));
    }

    #[test]
    fn plain_passwords_are_noticed_in_every_format() {
        let carries = |target: &str, body: &'static str| {
            let body = Bytes::from(body);
            Request::new("PUT", target, HeaderMap::new(), body, String::new()).unwrap().carries_password()
        };
        assert!(carries("/_users/_bulk_docs", r#"{"docs":[{"password":"x"}]}"#));
        assert!(carries("/_node/_local/_config/admins/a", r#""x""#));
        assert!(carries("/_session", "name=u&password=x"));
        assert!(!carries("/_node/_local/_config/admins/a", r#""-pbkdf2-x,y,10""#));
        assert!(!carries("/_users/d", r#"{"password_scheme":"pbkdf2"}"#));
    }

    #[test]
    fn broken_escapes_are_refused() {
        for target in ["/a/%zz", "/%", "/a/%2"] {
            assert_eq!(request(target).unwrap_err().status(), 400, "{target}");
        }
    }
}
