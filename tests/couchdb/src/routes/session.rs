//! `/_session`: log in for a cookie, get the current user, log out (upstream:
//! `couch_httpd_auth:handle_session_req/2`).
//!
//! Logging out only deletes the client's cookie; the server keeps no sessions.

use std::sync::Arc;

use axum::http::header;
use serde_json::{Map, Value, json};

use super::location;
use crate::access::Caller;
use crate::auth::{handlers, log_in, peer_of};
use crate::cookie;
use crate::node::Node;
use crate::personality::Version;
use crate::reply::{Outcome, Refusal, Reply};
use crate::request::{Request, unquote};

/// All methods of `/_session`.
pub(super) async fn session(node: &Arc<Node>, request: &Request, caller: &Caller) -> Outcome {
    match request.verb() {
        "GET" => who(node, request, caller),
        "POST" => open(node, request).await,
        "DELETE" => Ok(Reply::done(200).with(header::SET_COOKIE, set_cookie(node, ""))),
        _ => Err(Reply::method_not_allowed("GET,HEAD,POST,DELETE")),
    }
}

fn who(node: &Node, request: &Request, caller: &Caller) -> Outcome {
    if caller.name.is_none() && request.param("basic") == Some("true") {
        return Err(Reply::unauthorized("Please login."));
    }
    let mut info = Map::new();
    let users = node.state().users_database(node.version).to_owned();
    if node.version < Version::V3_3 || users != "_users" {
        info.insert("authentication_db".into(), users.into());
    }
    info.insert("authentication_handlers".into(), json!(handlers(node)));
    if let Some(handler) = caller.authenticated {
        info.insert("authenticated".into(), handler.into());
    }
    Ok(Reply::ok(&json!({
        "ok": true, "userCtx": { "name": caller.name, "roles": caller.roles }, "info": info
    })))
}

async fn open(node: &Arc<Node>, request: &Request) -> Outcome {
    let (name, password) = credentials(request)?;
    match log_in(node, &name, &password, &peer_of(request), true).await {
        Ok(login) => {
            let reply = Reply::ok(&json!({ "ok": true, "name": name, "roles": login.roles }));
            let value = cookie::issue(&node.session_secret(), &login.salt, &name);
            Ok(redirect(request, "next", reply).with(header::SET_COOKIE, set_cookie(node, &value)))
        }
        Err(refusal) if refusal.status() == 401 => {
            Ok(redirect(request, "fail", refusal).with(header::SET_COOKIE, set_cookie(node, "")))
        }
        Err(refusal) => Err(refusal),
    }
}

/// Name and password of a JSON or form body; a missing password counts as an empty one, which never matches.
fn credentials(request: &Request) -> Result<(String, String), Refusal> {
    let content_type = request.content_type();
    let fields: Map<String, Value> = if content_type.starts_with("application/x-www-form-urlencoded") {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter_map(|(key, value)| Some((unquote(key)?, Value::from(unquote(value)?)))).collect()
    } else if content_type.starts_with("application/json") {
        match request.json()? {
            Value::Object(members) => members,
            _ => return Err(Reply::crash("badmatch", "")),
        }
    } else {
        let reason = "Content-Type must be 'application/x-www-form-urlencoded' or 'application/json'";
        return Err(Reply::error(415, "bad_content_type", reason));
    };
    let name = match (fields.get("name"), fields.get("username")) {
        (Some(name), Some(username)) if name != username => {
            return Err(Reply::bad_request("request body contains different usernames"));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => return Err(Reply::bad_request("request body must contain a username")),
    };
    let name = name.as_str().ok_or_else(|| Reply::crash("unknown_error", "badarg"))?;
    let password = fields.get("password").and_then(Value::as_str).unwrap_or_default();
    Ok((name.to_owned(), password.to_owned()))
}

/// Turns the reply into a redirect if the query names a page for this case.
fn redirect(request: &Request, param: &str, reply: Reply) -> Reply {
    match request.param(param) {
        None => reply,
        Some(page) => {
            reply.under_status(302).with(header::LOCATION, location(request, &[page.trim_start_matches('/')]))
        }
    }
}

fn set_cookie(node: &Node, value: &str) -> String {
    let state = node.state();
    let age = match state.auth_setting("allow_persistent_cookies") {
        Some("false") => String::new(),
        _ => format!(" Max-Age={};", state.session_timeout()),
    };
    let site = state.auth_setting("same_site").filter(|site| !site.is_empty());
    let site = site.map(|site| format!("; SameSite={site}")).unwrap_or_default();
    let domain = state.auth_setting("cookie_domain").filter(|domain| !domain.is_empty());
    let domain = domain.map(|domain| format!("; Domain={domain}")).unwrap_or_default();
    format!("AuthSession={value}; Version=1;{age} Path=/; HttpOnly{site}{domain}")
}
