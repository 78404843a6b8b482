//! `/DB/DOC`: documents, design documents and `_local` documents of any database.
//!
//! `_bulk_docs` shares the write path: parse the draft, let `_users` prepare it (which hashes, on a blocking
//! thread), then check and store it under one lock. Attachments are not imitated.

use std::sync::Arc;

use axum::http::header;
use serde_json::{Map, Value, json};

use super::{location, root};
use crate::access::Caller;
use crate::node::{Node, State};
use crate::reply::{Outcome, Refusal, Reply};
use crate::request::Request;
use crate::revision::Revision;
use crate::users::{self, Draft};

/// Members that a client may send and the server ignores.
const IGNORED: [&str; 6] =
    ["_revisions", "_revs_info", "_conflicts", "_deleted_conflicts", "_local_seq", "_attachments"];

/// The maximum size of a document, in bytes (upstream's default of `[couchdb] max_document_size`).
const MAX_DOCUMENT: u64 = 8_000_000;

/// All methods of a document.
pub(super) async fn document(
    node: &Arc<Node>,
    request: &Request,
    caller: &Caller,
    db: &str,
    id: &str,
) -> Outcome {
    match request.verb() {
        "GET" => get(node, request, caller, db, id),
        "PUT" => {
            let value = request.json()?;
            check_size(node, request.body.len(), "")?;
            let (mut draft, base) = read_draft(&value)?;
            id.clone_into(&mut draft.id);
            check_id(id)?;
            let base = wanted_revision(request, base)?;
            save(node, request, caller, db, draft, base).await
        }
        "DELETE" => delete(node, request, caller, db, id).await,
        "COPY" | "POST" => Err(Reply::not_implemented("COPY of, or form POST to, a document")),
        _ => Err(Reply::method_not_allowed("DELETE,GET,HEAD,POST,PUT,COPY")),
    }
}

/// `POST /DB`: a document; the server chooses its id if it has none.
pub(super) async fn post(node: &Arc<Node>, request: &Request, caller: &Caller, db: &str) -> Outcome {
    let (mut draft, base) = read_draft(&request.posted_json()?)?;
    if draft.id.is_empty() {
        draft.id = root::new_uuid();
    }
    check_id(&draft.id)?;
    save(node, request, caller, db, draft, base).await
}

fn get(node: &Node, request: &Request, caller: &Caller, db: &str, id: &str) -> Outcome {
    let state = node.state();
    let security = node.security(&state, db)?;
    if is_users(db) {
        users::check_read(caller, &security, id)?;
    }
    let database = state.database(db)?;
    let mut document = database.get(id).ok_or_else(|| Reply::not_found("missing"))?;
    if let Some(rev) = request.param("rev") {
        let found = database.get_revision(id, &parse_revision(rev)?);
        document = found.ok_or_else(|| Reply::not_found("missing"))?;
    } else if document.deleted {
        return Err(Reply::not_found("deleted"));
    }
    let etag = format!("\"{}\"", document.revision);
    if request.header("if-none-match") == Some(&etag) {
        return Ok(Reply::empty(304).with(header::ETAG, etag));
    }
    let asked = request.param("conflicts") == Some("true");
    let whole = if asked { database.with_conflicts(id, document) } else { document.to_json(id) };
    Ok(Reply::ok(&whole).with(header::ETAG, etag))
}

async fn save(
    node: &Arc<Node>,
    request: &Request,
    caller: &Caller,
    db: &str,
    draft: Draft,
    base: Option<Revision>,
) -> Outcome {
    let security = node.security(&node.state(), db)?;
    let drafts = prepare(node, caller, db, &security, vec![draft]).await?;
    let Some(draft) = drafts.into_iter().next() else {
        return Err(Reply::conflict());
    };
    let (id, deleted) = (draft.id.clone(), draft.deleted);
    let revision = commit(node, &mut node.state(), caller, db, draft, base.as_ref())?;
    let body = json!({ "ok": true, "id": id, "rev": revision.to_string() });
    let reply = Reply::json(if deleted { 200 } else { 201 }, &body);
    Ok(reply.with(header::LOCATION, location(request, &[db, &id])))
}

async fn delete(node: &Arc<Node>, request: &Request, caller: &Caller, db: &str, id: &str) -> Outcome {
    let base = wanted_revision(request, None)?;
    let draft = Draft { id: id.to_owned(), deleted: true, body: Map::new() };
    {
        let state = node.state();
        let document = state.database(db)?.get(id).ok_or_else(|| Reply::not_found("missing"))?;
        if document.deleted {
            return Err(Reply::not_found("deleted"));
        }
        if base.is_none() {
            return Err(Reply::conflict());
        }
    }
    save(node, request, caller, db, draft, base).await.map(|reply| reply.under_status(200))
}

/// Lets `_users` check the drafts and hash their passwords, on a blocking thread.
pub(super) async fn prepare(
    node: &Arc<Node>,
    caller: &Caller,
    db: &str,
    security: &Value,
    drafts: Vec<Draft>,
) -> Result<Vec<Draft>, Refusal> {
    if !is_users(db) {
        return Ok(drafts);
    }
    let (node, caller, security) = (Arc::clone(node), caller.clone(), security.clone());
    let prepare = move || {
        let prepared = drafts.into_iter().map(|mut draft| {
            users::before_write(&node, &caller, &security, &mut draft)?;
            Ok(draft)
        });
        prepared.collect()
    };
    let prepared = tokio::task::spawn_blocking(prepare).await;
    prepared.map_err(|_| Reply::crash("unknown_error", "the hashing thread is gone"))?
}

/// Stores a prepared draft or refuses it; the order of the checks is upstream's.
pub(super) fn commit(
    node: &Node,
    state: &mut State,
    caller: &Caller,
    db: &str,
    draft: Draft,
    base: Option<&Revision>,
) -> Result<Revision, Refusal> {
    let security = node.security(state, db)?;
    let database = state.database_mut(db)?;
    if database.parent(&draft.id, base).is_err() {
        return Err(Reply::conflict());
    }
    if draft.id.starts_with("_design/") {
        caller.require_design_rights(&security)?;
    } else if db == "_replicator" {
        return Err(Reply::not_implemented("replication documents"));
    }
    // Nothing is checked until the design document exists.
    if is_users(db) && database.get("_design/_auth").is_some_and(|design| !design.deleted) {
        users::validate(node, caller, &security, &draft, database.get(&draft.id))?;
    }
    let revision = database.put(&draft.id, base, draft.deleted, draft.body).map_err(|_| Reply::conflict())?;
    if db == "_users" {
        state.user_changed(&draft.id);
    }
    Ok(revision)
}

/// `/DB/_local/NAME`: documents without a history.
pub(super) fn local(node: &Node, request: &Request, db: &str, name: &str) -> Outcome {
    let id = format!("_local/{name}");
    let mut state = node.state();
    let database = state.database_mut(db)?;
    match request.verb() {
        "GET" => {
            let (edits, body) = database.local(&id).ok_or_else(|| Reply::not_found("missing"))?;
            let mut whole = json!({ "_id": id, "_rev": format!("0-{edits}") });
            if let (Some(whole), Some(body)) = (whole.as_object_mut(), body.as_object()) {
                whole.extend(body.clone());
            }
            Ok(Reply::ok(&whole))
        }
        "PUT" => {
            let body = request.json()?;
            let base = body.get("_rev").and_then(Value::as_str).and_then(|rev| rev.strip_prefix("0-"));
            let base = base.and_then(|edits| edits.parse().ok()).unwrap_or(0);
            let (draft, _) = read_draft(&body)?;
            let edits = database.put_local(&id, base, Value::Object(draft.body));
            let body = json!({ "ok": true, "id": id, "rev": format!("0-{edits}") });
            Ok(Reply::json(201, &body).with(header::LOCATION, location(request, &[db, &id])))
        }
        "DELETE" if database.remove_local(&id) => {
            Ok(Reply::ok(&json!({ "ok": true, "id": id, "rev": "0-0" })))
        }
        "DELETE" => Err(Reply::not_found("missing")),
        _ => Err(Reply::method_not_allowed("DELETE,GET,HEAD,POST,PUT,COPY")),
    }
}

/// `/DB/DOC/…`: the refusals for a client that did not escape a slash; attachments are not imitated.
pub(super) fn attachment(node: &Node, request: &Request, caller: &Caller, db: &str, id: &str) -> Outcome {
    let state = node.state();
    let document = state.database(db)?.get(id);
    if request.verb() == "GET" && document.is_none_or(|document| document.deleted) {
        return Err(Reply::not_found("missing"));
    }
    if request.verb() == "PUT" && is_users(db) && document.is_none() {
        let empty = Draft { id: id.to_owned(), deleted: false, body: Map::new() };
        users::validate(node, caller, &node.security(&state, db)?, &empty, None)?;
    }
    Err(Reply::not_implemented("attachments"))
}

/// Parses a document from a client: id (empty if missing), deletion, body, and the revision that it replaces.
pub(super) fn read_draft(value: &Value) -> Result<(Draft, Option<Revision>), Refusal> {
    let Some(members) = value.as_object() else {
        return Err(Reply::bad_request("Document must be a JSON object"));
    };
    let text = |key: &str| members.get(key).and_then(Value::as_str);
    let base = text("_rev").map(parse_revision).transpose()?;
    let mut body = members.clone();
    for key in ["_id", "_rev", "_deleted"].into_iter().chain(IGNORED) {
        body.shift_remove(key);
    }
    if let Some(special) = body.keys().find(|key| key.starts_with('_')) {
        return Err(Reply::error(400, "doc_validation", &format!("Bad special document member: {special}")));
    }
    if members
        .get("_attachments")
        .is_some_and(|attached| attached.as_object().is_some_and(|all| !all.is_empty()))
    {
        return Err(Reply::not_implemented("attachments"));
    }
    let deleted = members.get("_deleted") == Some(&Value::Bool(true));
    Ok((Draft { id: text("_id").unwrap_or_default().to_owned(), deleted, body }, base))
}

/// Refuses ids that are reserved for the server.
pub(super) fn check_id(id: &str) -> Result<(), Refusal> {
    if id.starts_with('_') && !id.starts_with("_design/") && !id.starts_with("_local/") {
        return Err(Reply::error(
            400,
            "illegal_docid",
            "Only reserved document ids may start with underscore.",
        ));
    }
    Ok(())
}

/// Refuses a document that is larger than configured; `named` is its name in the refusal.
pub(super) fn check_size(node: &Node, bytes: usize, named: &str) -> Result<(), Refusal> {
    let largest = node.state().config.number("couchdb", "max_document_size", MAX_DOCUMENT);
    if u64::try_from(bytes).unwrap_or(u64::MAX) > largest {
        return Err(Reply::error(413, "document_too_large", named));
    }
    Ok(())
}

/// The revision that a write replaces: from the body, the query or `If-Match`, which must agree.
fn wanted_revision(request: &Request, of_body: Option<Revision>) -> Result<Option<Revision>, Refusal> {
    let of_query = request.param("rev").map(parse_revision).transpose()?;
    let header = request.header("if-match").map(|rev| rev.trim_matches('"'));
    let of_header = header.map(parse_revision).transpose()?;
    match (of_body, of_query.or(of_header)) {
        (Some(body), Some(other)) if body != other => {
            Err(Reply::bad_request("Document rev from request body and query string have different values"))
        }
        (body, other) => Ok(body.or(other)),
    }
}

fn parse_revision(text: &str) -> Result<Revision, Refusal> {
    Revision::parse(text).ok_or_else(|| Reply::bad_request("Invalid rev format"))
}

fn is_users(db: &str) -> bool {
    db == "_users"
}
