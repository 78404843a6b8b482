//! Answers that CouchDB does not give: a proxy's error page, a redirect, a login page, a compressed body.
//!
//! The description contains nothing from the body except a page title: the server may send the request back,
//! including `os_admin`'s password.

use reqwest::{
    StatusCode,
    header::{CONTENT_ENCODING, HeaderMap, LOCATION, SERVER},
};
use serde_json::Value;
use url::Url;

use crate::reply::answer;

/// The longest foreign text that is shown, in characters.
const LONGEST_SHOWN: usize = 100;

/// The reason why this answer can't be CouchDB's own. `None` if it may be.
pub(crate) fn found_instead(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(one_line);
    let what = if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        let target = text(LOCATION).map_or_else(|| "nowhere".to_owned(), |target| without_secrets(&target));
        format!("a redirect to {target}")
    } else if let Some(encoding) = text(CONTENT_ENCODING).filter(|encoding| encoding != "identity") {
        format!("a compressed body (Content-Encoding: {encoding}), which the agent did not ask for")
    } else if body.trim_ascii_start().starts_with(b"<") {
        match title(body) {
            Some(title) => format!("a web page, {title:?}"),
            None => "a web page".to_owned(),
        }
    } else if !status.is_success() && !may_be_couchdbs(status, body) {
        "no error in CouchDB's form".to_owned()
    } else {
        return None;
    };
    let server = text(SERVER).filter(|server| !server.starts_with("CouchDB"));
    let server = server.map(|server| format!(" (Server: {server})")).unwrap_or_default();
    Some(format!("HTTP status {} with {what}{server}", status.as_u16()))
}

/// CouchDB's errors are objects with an `error` (`_up` has a `status`), or an array of them, one per
/// document. Its HTTP library answers some requests without a body. It never acts as a gateway.
fn may_be_couchdbs(status: StatusCode, body: &[u8]) -> bool {
    if matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) {
        return false;
    }
    body.is_empty()
        || match answer::parse(body) {
            Ok(Value::Object(body)) => {
                body.is_empty()
                    || ["error", "status"].iter().any(|key| body.get(*key).is_some_and(Value::is_string))
            }
            Ok(Value::Array(_)) => true,
            Ok(_) | Err(_) => false,
        }
}

/// Without user, password, query and fragment, which may contain credentials.
fn without_secrets(target: &str) -> String {
    let Ok(mut url) = Url::parse(target) else {
        return target.split(['?', '#']).next().unwrap_or_default().to_owned();
    };
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    if cleared.is_ok() { url.into() } else { format!("{}:…", url.scheme()) }
}

fn title(page: &[u8]) -> Option<String> {
    let page = String::from_utf8_lossy(page.get(..4096).unwrap_or(page)).into_owned();
    let lower = page.to_ascii_lowercase();
    ["title", "h1"].into_iter().find_map(|tag| {
        let from = lower.find(&format!("<{tag}>"))? + tag.len() + 2;
        let length = lower.get(from..)?.find('<')?;
        let text = one_line(page.get(from..from + length)?.trim());
        (!text.is_empty()).then_some(text)
    })
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn found(status: u16, headers: &[(&'static str, &str)], body: &str) -> Option<String> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        found_instead(StatusCode::from_u16(status).unwrap(), &headers.collect(), body.as_bytes())
    }

    #[test]
    fn what_is_not_couchdbs_is_named() {
        let html = "<html><body><h1>502 Bad Gateway</h1>nginx</body></html>";
        assert_eq!(
            found(502, &[("server", "nginx/1.22.1")], html).unwrap(),
            "HTTP status 502 with a web page, \"502 Bad Gateway\" (Server: nginx/1.22.1)"
        );
        let login = "<!doctype html><title>Sign in</title>";
        assert_eq!(found(200, &[], login).unwrap(), "HTTP status 200 with a web page, \"Sign in\"");
        assert_eq!(
            found(301, &[("location", "https://al:pw@couch.example.org/_session?token=hunter2")], "")
                .unwrap(),
            "HTTP status 301 with a redirect to https://couch.example.org/_session"
        );
        assert_eq!(
            found(307, &[("location", "/login?next=hunter2")], "").unwrap(),
            "HTTP status 307 with a redirect to /login"
        );
        let packed = found(200, &[("content-encoding", "gzip")], "\u{1f}").unwrap();
        assert!(packed.contains("Content-Encoding: gzip"), "{packed}");
        assert!(found(504, &[], "").unwrap().contains("504"));
        // An echo would reveal the request's own headers.
        let echo = found(404, &[], r#"{"headers": {"Authorization": "Basic aHVudGVyMg=="}}"#).unwrap();
        assert!(echo.contains("404") && !echo.contains("aHVu"), "{echo}");
    }

    #[test]
    fn couchdbs_own_answers_are_no_strangers() {
        let error = r#"{"error":"not_found","reason":"missing"}"#;
        for (status, body) in [
            (200, "{\"ok\":true}"),
            (404, r#"{"status":"maintenance_mode"}"#),
            (500, r#"[{"error":"x"}]"#),
            (404, error),
            (503, error),
            (400, ""),
            (304, ""),
            (201, ""),
        ] {
            assert_eq!(found(status, &[("server", "CouchDB/3.5.2 (Erlang OTP/25)")], body), None, "{status}");
            assert_eq!(found(status, &[("server", "nginx")], body), None, "a proxy that only passes it on");
        }
    }
}
