//! `POST /DB/_bulk_docs`: many writes, each with its own result; the batch as a whole succeeds.
//!
//! Only an unreadable body refuses the batch. Documents are stored in the order of the request.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{documents, root};
use crate::access::Caller;
use crate::database::Document;
use crate::node::Node;
use crate::reply::{Outcome, Refusal, Reply};
use crate::request::Request;
use crate::revision::Revision;
use crate::users::Draft;

/// Supports only POST.
pub(super) async fn bulk_docs(node: &Arc<Node>, request: &Request, caller: &Caller, db: &str) -> Outcome {
    if request.verb() != "POST" {
        return Err(Reply::method_not_allowed("POST"));
    }
    let body = request.posted_json()?;
    let docs =
        body.get("docs").ok_or_else(|| Reply::bad_request("POST body must include `docs` parameter."))?;
    let docs = docs.as_array().ok_or_else(|| Reply::bad_request("`docs` parameter must be an array."))?;
    let mut drafts = Vec::new();
    let mut bases = Vec::new();
    for doc in docs {
        let (mut draft, base) = documents::read_draft(doc)?;
        documents::check_id(&draft.id)?;
        documents::check_size(node, doc.to_string().len(), &draft.id)?;
        if draft.id.is_empty() {
            draft.id = root::new_uuid();
        }
        drafts.push(draft);
        bases.push(base);
    }
    if body.get("new_edits") == Some(&Value::Bool(false)) {
        return replicate(node, caller, db, drafts, bases);
    }
    let security = node.security(&node.state(), db)?;
    let drafts = documents::prepare(node, caller, db, &security, drafts).await?;
    let mut results = Vec::new();
    let mut state = node.state();
    for (draft, base) in drafts.into_iter().zip(bases) {
        let id = draft.id.clone();
        results.push(match documents::commit(node, &mut state, caller, db, draft, base.as_ref()) {
            Ok(revision) => json!({ "ok": true, "id": id, "rev": revision.to_string() }),
            Err(refusal) => failed(&id, &refusal)?,
        });
    }
    Ok(Reply::json(201, &results.into()))
}

/// The result of a failed document; an error that is not about the document fails the whole batch.
fn failed(id: &str, refusal: &Reply) -> Result<Value, Refusal> {
    let (error, reason) = match refusal.status() {
        409 => ("conflict", "Document update conflict.".to_owned()),
        401 => ("unauthorized", refusal.reason()),
        403 => ("forbidden", refusal.reason()),
        _ => return Err(Reply::error(refusal.status(), "error", &refusal.reason())),
    };
    Ok(json!({ "id": id, "error": error, "reason": reason }))
}

/// `new_edits: false`: documents arrive with their revisions, as from a replication, and are not checked.
fn replicate(
    node: &Node,
    caller: &Caller,
    db: &str,
    drafts: Vec<Draft>,
    bases: Vec<Option<Revision>>,
) -> Outcome {
    let mut state = node.state();
    let security = node.security(&state, db)?;
    for (draft, base) in drafts.into_iter().zip(bases) {
        if draft.id.starts_with("_design/") {
            caller.require_design_rights(&security)?;
        }
        let Some(revision) = base else {
            return Err(Reply::bad_request("Document must have a _rev"));
        };
        let (id, Draft { deleted, body, .. }) = (draft.id.clone(), draft);
        state.database_mut(db)?.replicate(&id, Document { revision, deleted, body });
        state.user_changed(&id);
    }
    Ok(Reply::json(201, &json!([])))
}
