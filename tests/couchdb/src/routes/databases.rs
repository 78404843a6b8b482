//! `/_all_dbs`, `/_dbs_info` and `/DB` itself.
//!
//! Names follow CouchDB's own, lenient rules (`a//b` and `trail/` are valid): stricter rules are the agent's
//! task.

use std::sync::Arc;

use axum::http::header;
use serde_json::{Value, json};

use super::{documents, location};
use crate::access::Caller;
use crate::database::{Database, Layout};
use crate::node::{Node, State};
use crate::reply::{Outcome, Refusal, Reply};
use crate::request::Request;
use crate::window::Window;

/// The databases that may begin with an underscore, alone or after a path.
const SYSTEM: [&str; 4] = ["_users", "_replicator", "_global_changes", "_metadata"];

/// The longest path segment of a name, in bytes: what fits into a file name with the shard's suffix.
const MAX_SEGMENT: usize = 238;

/// `GET /_all_dbs`.
pub(super) fn list(node: &Node, request: &Request) -> Outcome {
    if request.verb() != "GET" {
        return Err(Reply::method_not_allowed("GET,HEAD"));
    }
    let window = window(request)?;
    let state = node.state();
    let names: Vec<&str> = state.databases.keys().map(String::as_str).collect();
    Ok(Reply::ok(&json!(window.select(&names, |name| name).1)))
}

/// `GET` and `POST /_dbs_info`.
pub(super) fn infos(node: &Node, request: &Request) -> Outcome {
    let info = |name: &str, info: Value| json!({ "key": name, "info": info });
    if request.verb() == "GET" {
        let window = window(request)?;
        let state = node.state();
        let all: Vec<(&String, &Database)> = state.databases.iter().collect();
        let (_, rows) = window.select(&all, |(name, _)| name);
        let rows: Vec<Value> =
            rows.into_iter().map(|(name, _)| info(name, info_of(node, &state, name))).collect();
        return Ok(Reply::ok(&rows.into()));
    }
    if request.verb() != "POST" {
        return Err(Reply::method_not_allowed("GET,HEAD,POST"));
    }
    let body = request.posted_json()?;
    let keys = body.get("keys").ok_or_else(|| Reply::bad_request("`keys` member must exist."))?;
    let keys = keys.as_array().ok_or_else(|| Reply::bad_request("`keys` member must be an array."))?;
    if keys.len() > 100 {
        return Err(Reply::bad_request("too_many_keys"));
    }
    let state = node.state();
    let row = |name: &str| match state.databases.get(name) {
        // Those that can't be opened are not told from missing ones.
        Some(_) if state.trouble.renamed_from.is_some() || state.trouble.unopenable.contains(name) => {
            json!({ "key": name, "error": "not_found" })
        }
        Some(_) => info(name, info_of(node, &state, name)),
        None => json!({ "key": name, "error": "not_found" }),
    };
    let rows: Vec<Value> = keys.iter().filter_map(Value::as_str).map(row).collect();
    Ok(Reply::ok(&rows.into()))
}

/// The body of `GET /DB`, with the sizes that a test has set.
fn info_of(node: &Node, state: &State, name: &str) -> Value {
    let Some(database) = state.databases.get(name) else { return Value::Null };
    let mut info = database.info(node.version, name);
    if let Some(fat) = state.trouble.fat.get(name) {
        info["sizes"] = json!({ "file": fat.file, "external": fat.active, "active": fat.active });
    }
    info
}

fn window(request: &Request) -> Result<Window, Refusal> {
    Window::parse(|name| request.param(name).map(str::to_owned))
}

/// All methods of `/DB`.
pub(super) async fn database(node: &Arc<Node>, request: &Request, caller: &Caller, db: &str) -> Outcome {
    match request.verb() {
        "GET" => {
            let state = node.state();
            state.database(db)?;
            if has_unusable_name(db) {
                return Err(Reply::crash("internal_server_error", "No DB shards could be opened."));
            }
            Ok(Reply::ok(&info_of(node, &state, db)))
        }
        "PUT" => create(node, request, db),
        "DELETE" => delete(node, request, db),
        "POST" => documents::post(node, request, caller, db).await,
        _ => Err(Reply::method_not_allowed("DELETE,GET,HEAD,POST")),
    }
}

fn create(node: &Arc<Node>, request: &Request, db: &str) -> Outcome {
    check_name(db)?;
    let positive = |name: &str, default: u32| match request.param(name).map(str::parse) {
        None => Ok(default),
        Some(Ok(number)) if number > 0 => Ok(number),
        Some(_) => Err(Reply::bad_request(&format!("The `{name}` value should be a positive integer."))),
    };
    let partitioned = match request.param("partitioned") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Reply::bad_request("Invalid `partitioned` parameter")),
    };
    let layout = Layout { shards: positive("q", 2)?, copies: positive("n", 1)?.min(1), partitioned };
    let mut state = node.state();
    // A clustered node stores the shard maps in `_dbs`; it cannot be created, but it exists.
    if state.databases.contains_key(db) || db == "_dbs" {
        let reason = "The database could not be created, the file already exists.";
        return Err(Reply::error(412, "file_exists", reason));
    }
    state.databases.insert(db.to_owned(), Database::new(layout));
    drop(state);
    if db == "_users" {
        node.settle_later();
    }
    Ok(Reply::done(201).with(header::LOCATION, location(request, &[db])))
}

fn delete(node: &Node, request: &Request, db: &str) -> Outcome {
    if request.param("rev").is_some() {
        let reason = "You tried to DELETE a database with a ?=rev parameter. Did you mean to DELETE a document instead?";
        return Err(Reply::bad_request(reason));
    }
    let mut state = node.state();
    state.databases.remove(db).ok_or_else(Reply::no_database)?;
    if db == "_users" {
        // The cache no longer follows `_users`; users that logged in before still can, from the cache.
        state.settled = false;
    }
    Ok(Reply::done(200))
}

fn check_name(db: &str) -> Result<(), Refusal> {
    let plain = db.strip_suffix(".couch").unwrap_or(db);
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_$()+-/".contains(c);
    let well_formed = plain.starts_with(|c: char| c.is_ascii_lowercase()) && plain.chars().all(legal);
    let system = SYSTEM.contains(&db) || db == "_dbs";
    if !well_formed && !system {
        let reason = format!(
            "Name: '{db}'. Only lowercase characters (a-z), digits (0-9), and any of the characters _, $, (, ), +, -, \
             and / are allowed. Must begin with a letter."
        );
        return Err(Reply::error(400, "illegal_database_name", &reason));
    }
    if db.split('/').any(|segment| segment.len() > MAX_SEGMENT) {
        let reason = format!("At least one path segment of `{db}` is too long.");
        return Err(Reply::error(400, "database_name_too_long", &reason));
    }
    Ok(())
}

/// CouchDB creates such a database and then cannot find its own files.
fn has_unusable_name(db: &str) -> bool {
    std::path::Path::new(db).extension().is_some_and(|extension| extension == "couch")
}
