//! `/DB/_all_docs`: documents in the byte order of their ids, by range or by keys, with or without their
//! bodies.
//!
//! In `_users` all callers except admins are refused earlier; elsewhere members see everything.

use serde_json::{Map, Value, json};

use crate::access::Caller;
use crate::database::{Database, Document};
use crate::node::Node;
use crate::personality::Version;
use crate::reply::{Outcome, Reply};
use crate::request::Request;
use crate::window::Window;

/// `GET`, and `POST` with the keys or other parameters in the body.
pub(super) fn all_docs(node: &Node, request: &Request, caller: &Caller, db: &str) -> Outcome {
    let body = match request.verb() {
        "GET" => Value::Null,
        "POST" => request.posted_json()?,
        _ => return Err(Reply::method_not_allowed("GET,HEAD,POST")),
    };
    let param = |name: &str| {
        let of_body = || body.get(name).map(Value::to_string);
        request.param(name).map(str::to_owned).or_else(of_body)
    };
    let is_on = |name: &str| param(name).as_deref() == Some("true");
    let include_docs = is_on("include_docs").then(|| is_on("conflicts"));
    let window = Window::parse(param)?;
    let keys = param("keys").map(|text| serde_json::from_str::<Vec<Value>>(&text)).transpose();
    let keys = keys.map_err(|_| Reply::bad_request("`keys` member must be an array."))?;
    if db == "_users" {
        caller.require_server_admin()?;
    }
    let state = node.state();
    let database = state.database(db)?;
    let total = database.live_count();
    if let Some(keys) = keys {
        let rows: Vec<Value> = keys.iter().map(|key| keyed_row(database, key, include_docs)).collect();
        let offset = if node.version == Version::V1 { json!(0) } else { Value::Null };
        return Ok(Reply::ok(&json!({ "total_rows": total, "offset": offset, "rows": rows })));
    }
    let live: Vec<(&str, &Document)> = database.live().collect();
    let (offset, rows) = window.select(&live, |(id, _)| id);
    let rows: Vec<Value> =
        rows.into_iter().map(|(id, document)| row(database, id, document, include_docs)).collect();
    Ok(Reply::ok(&json!({ "total_rows": total, "offset": offset, "rows": rows })))
}

/// `include_docs`: `Some` to include the documents, `Some(true)` with their conflicts.
fn row(database: &Database, id: &str, document: &Document, include_docs: Option<bool>) -> Value {
    let mut row = Map::new();
    row.insert("id".into(), id.into());
    row.insert("key".into(), id.into());
    let mut value = json!({ "rev": document.revision.to_string() });
    if document.deleted {
        value = json!({ "rev": document.revision.to_string(), "deleted": true });
    }
    row.insert("value".into(), value);
    if let Some(conflicts) = include_docs {
        let doc = match (document.deleted, conflicts) {
            (true, _) => Value::Null,
            (false, true) => database.with_conflicts(id, document),
            (false, false) => document.to_json(id),
        };
        row.insert("doc".into(), doc);
    }
    Value::Object(row)
}

fn keyed_row(database: &Database, key: &Value, include_docs: Option<bool>) -> Value {
    match key.as_str().and_then(|id| database.get(id).map(|document| (id, document))) {
        Some((id, document)) => row(database, id, document, include_docs),
        None => json!({ "key": key, "error": "not_found" }),
    }
}
