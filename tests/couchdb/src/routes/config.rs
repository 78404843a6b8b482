//! `/_node/NAME/_config/…` of 2.x and 3.x, `/_config/…` of 1.x: read, set and delete configuration values.
//!
//! Every answer to a write is the OLD value. For the difficulties of `[admins]` see `admins`. On a clustered
//! node only server admins get here; 1.x is checked here.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::admins::{hash_later, is_plain};
use crate::node::Node;
use crate::passwords::hash_for_admin;
use crate::reply::{Outcome, Refusal, Reply};
use crate::request::Request;

/// Sections that cannot be set over HTTP, because they name programs to run.
const BLACKLISTED: [&str; 5] = ["daemons", "external", "native_query_servers", "os_daemons", "query_servers"];

/// `/_node/…`; only the configuration is imitated.
pub(super) fn node(node: &Arc<Node>, request: &Request, path: &[&str]) -> Outcome {
    let Some((name, rest)) = path.split_first() else {
        return Err(Reply::bad_request("Incomplete path to _node request"));
    };
    if *name != "_local" && *name != node.name() {
        if name.contains('@') && *name != "nonode@nohost" {
            return Err(Reply::not_found(&format!("no such node: {name}")));
        }
        return Err(Reply::error(412, "nodedown", &format!("{name} is down")));
    }
    match rest {
        [] if *name == "_local" => Ok(Reply::ok(&json!({ "name": node.name() }))),
        ["_config", rest @ ..] => config(node, request, rest),
        _ => Err(Reply::not_implemented("such part of /_node")),
    }
}

/// The paths below `_config`.
pub(super) fn config(node: &Arc<Node>, request: &Request, path: &[&str]) -> Outcome {
    let only_get = || {
        if request.verb() == "GET" { Ok(()) } else { Err(Reply::method_not_allowed("GET")) }
    };
    match path {
        [] => {
            only_get()?;
            let state = node.state();
            let sections: Map<String, Value> = state
                .config
                .section_names()
                .map(|name| (name.to_owned(), section(&state.config, name)))
                .collect();
            Ok(Reply::ok(&Value::Object(sections)))
        }
        ["_reload"] if request.verb() != "POST" => Err(Reply::method_not_allowed("POST")),
        ["_reload"] => reload(node),
        [name] => {
            only_get()?;
            Ok(Reply::ok(&section(&node.state().config, name)))
        }
        [section, key] => match request.verb() {
            "GET" => value(node.state().config.get(section, key).map(str::to_owned)),
            "PUT" => set(node, request, section, key),
            "DELETE" => {
                allow_change(section)?;
                let removed = node.state().config.remove(section, key);
                must_be_written(node)?;
                value(removed)
            }
            _ => Err(Reply::method_not_allowed("GET,PUT,DELETE")),
        },
        _ => Err(Reply::not_found("missing")),
    }
}

fn section(config: &crate::config::Config, name: &str) -> Value {
    config
        .section(name)
        .map(|(key, value)| (key.to_owned(), Value::from(value)))
        .collect::<Map<_, _>>()
        .into()
}

fn value(value: Option<String>) -> Outcome {
    value.map(|value| Reply::ok(&value.into())).ok_or_else(|| Reply::not_found("unknown_config_value"))
}

fn allow_change(section: &str) -> Result<(), Refusal> {
    if BLACKLISTED.contains(&section) {
        return Err(Reply::forbidden("Config section blacklisted for modification over HTTP API."));
    }
    Ok(())
}

fn set(node: &Arc<Node>, request: &Request, section: &str, key: &str) -> Outcome {
    allow_change(section)?;
    let Value::String(text) = request.json()? else {
        return Err(if node.version.checks_config_values() {
            Reply::bad_request("a JSON string expected")
        } else {
            Reply::crash("unknown_error", "function_clause")
        });
    };
    let text = text.trim();
    if key.starts_with('[') {
        return Err(Reply::bad_request("Invalid configuration key"));
    }
    // The values are stored in Latin-1 ini files, one per line.
    if text.chars().any(|c| u32::from(c) > 0xFF || c == '\n' || c == '\r') {
        return Err(Reply::bad_request("Invalid configuration value"));
    }
    let persistent = request.header("x-couch-persist") != Some("false");
    if section == "admins" && !node.version.hashes_admins_later() && request.param("raw") != Some("true") {
        // 1.x hashes every value before it answers, even one that is a hash already, unless `raw=true`.
        let hash = hash_for_admin(node.hashing(), text);
        let old = node.state().config.set(section, key, &hash, persistent);
        must_be_written(node)?;
        return Ok(Reply::ok(&old.unwrap_or_default().into()));
    }
    let old = node.state().config.set(section, key, text, persistent);
    must_be_written(node)?;
    if section == "admins" && is_plain(node, text) {
        hash_later(node, key, text);
    }
    Ok(Reply::ok(&old.unwrap_or_default().into()))
}

/// An error if the files cannot be written; the change is still in effect.
fn must_be_written(node: &Arc<Node>) -> Result<(), Refusal> {
    if node.state().config.is_read_only {
        return Err(Reply::bad_request("erofs"));
    }
    Ok(())
}

fn reload(node: &Arc<Node>) -> Outcome {
    let ini = node.read_ini().map_err(|error| Reply::error(500, "error", &error.to_string()))?;
    node.state().config.reload(&ini);
    Ok(Reply::done(200))
}
