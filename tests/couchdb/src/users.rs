//! The special rules of `_users`: read access, password hashing at a write, and `_design/_auth`.
//!
//! Upstream: `couch_users_db.erl` and the `validate_doc_update` of `couch_auth_cache.erl`, whose messages are
//! copied word for word. Callers: the document routes. This module never locks.

use serde_json::{Map, Value};

use crate::access::Caller;
use crate::database::Document;
use crate::node::Node;
use crate::password_rules;
use crate::passwords::{hash_into_user, new_salt};
use crate::reply::{Refusal, Reply};

/// A document that a caller writes, before it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) id: String,
    pub(crate) deleted: bool,
    pub(crate) body: Map<String, Value>,
}

/// Hides other users' documents and design documents from all callers except admins.
pub(crate) fn check_read(caller: &Caller, security: &Value, id: &str) -> Result<(), Refusal> {
    if caller.is_db_admin(security) {
        return Ok(());
    }
    if id.starts_with("_design/") {
        return Err(Reply::forbidden("Only administrators can view design docs in the users database."));
    }
    if is_own(caller, id) { Ok(()) } else { Err(Reply::not_found("missing")) }
}

/// The checks before a write: other users' documents do not exist, and a plain password becomes a hash. Slow.
pub(crate) fn before_write(
    node: &Node,
    caller: &Caller,
    security: &Value,
    draft: &mut Draft,
) -> Result<(), Refusal> {
    let registering = caller.name.is_none();
    if !caller.is_db_admin(security) && !registering && !is_own(caller, &draft.id) {
        return Err(Reply::not_found("missing"));
    }
    if draft.id.starts_with("_design/") {
        return Ok(());
    }
    match draft.body.get("password") {
        None | Some(Value::Null) => {}
        Some(Value::String(password)) => {
            let password = password.clone();
            let rules = node.state().auth_setting("password_regexp").unwrap_or_default().to_owned();
            password_rules::check(&rules, &password)?;
            draft.body = hash_into_user(node.hashing(), &draft.body, &password, &new_salt());
        }
        Some(other) => {
            let reason = format!("Password value of '{}' is invalid.", erlang(other));
            return Err(Reply::forbidden(&reason));
        }
    }
    Ok(())
}

fn is_own(caller: &Caller, id: &str) -> bool {
    caller.name.is_some() && id.strip_prefix("org.couchdb.user:") == caller.name.as_deref()
}

/// A JSON value as Erlang prints it (`~p`), as far as refused passwords need it.
fn erlang(value: &Value) -> String {
    match value {
        Value::String(text) => format!("<<\"{text}\">>"),
        Value::Array(items) => format!("[{}]", items.iter().map(erlang).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// `_design/_auth`: the first rule that the new document violates, in CouchDB's words.
pub(crate) fn validate(
    node: &Node,
    caller: &Caller,
    security: &Value,
    draft: &Draft,
    old: Option<&Document>,
) -> Result<(), Refusal> {
    let old = old.filter(|document| !document.deleted);
    if draft.id.starts_with("_design/") {
        return Ok(());
    }
    broken_rule(node, caller, security, draft, old).map_or(Ok(()), |reason| Err(Reply::forbidden(&reason)))
}

fn broken_rule(
    node: &Node,
    caller: &Caller,
    security: &Value,
    draft: &Draft,
    old: Option<&Document>,
) -> Option<String> {
    let field = |key: &str| draft.body.get(key).filter(|value| is_truthy(value));
    let is_admin = caller.is_db_admin(security);
    if draft.deleted {
        let own = is_own(caller, &draft.id);
        return (!is_admin && !own).then(|| "Only admins may delete other user docs.".to_owned());
    }
    if draft.body.get("type") != Some(&Value::from("user")) {
        return Some("doc.type must be user".into());
    }
    let Some(name) = field("name") else {
        return Some("doc.name is required".into());
    };
    let Some(roles) = draft.body.get("roles").filter(|roles| is_truthy(roles)) else {
        return Some("doc.roles must exist".into());
    };
    let Some(roles) = roles.as_array() else {
        return Some("doc.roles must be an array".into());
    };
    if !roles.iter().all(Value::is_string) {
        return Some("doc.roles can only contain strings".into());
    }
    let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
    if draft.id != format!("org.couchdb.user:{name}") {
        return Some("Doc ID must be of the form org.couchdb.user:name".into());
    }
    if old.is_some_and(|old| old.body.get("name") != draft.body.get("name")) {
        return Some("Usernames can not be changed.".into());
    }
    if let Some(reason) = broken_hash_rule(node, draft) {
        return Some(reason);
    }
    if !is_admin {
        let before = old.and_then(|old| old.body.get("roles"));
        match old {
            Some(_) if !is_own(caller, &draft.id) => {
                return Some("You may only update your own user document.".into());
            }
            Some(_) if before != draft.body.get("roles") => return Some("Only _admin may edit roles".into()),
            None if !roles.is_empty() => return Some("Only _admin may set roles".into()),
            _ => {}
        }
    }
    if roles.iter().filter_map(Value::as_str).any(|role| role.starts_with('_')) {
        return Some("No system roles (starting with underscore) in users db.".into());
    }
    if name.starts_with('_') {
        return Some("Username may not start with underscore.".into());
    }
    name.contains(':').then(|| "Character `:` is not allowed in usernames.".into())
}

fn broken_hash_rule(node: &Node, draft: &Draft) -> Option<String> {
    let field = |key: &str| draft.body.get(key).filter(|value| is_truthy(value));
    if field("password_sha").is_some() && field("salt").is_none() {
        let reason = "Users with password_sha must have a salt.See /_utils/script/couch.js for example code.";
        return Some(reason.into());
    }
    let scheme = field("password_scheme").and_then(Value::as_str).unwrap_or("simple");
    if node.version.refuses_unknown_schemes() && !["simple", "pbkdf2"].contains(&scheme) {
        return Some(format!("Password scheme `{scheme}` not supported."));
    }
    if scheme == "pbkdf2" {
        if !draft.body.get("iterations").is_some_and(Value::is_number) {
            return Some("iterations must be a number.".into());
        }
        if !draft.body.get("derived_key").is_some_and(Value::is_string) {
            return Some("derived_key must be a string.".into());
        }
    }
    None
}

/// JavaScript's truthiness, because the rules are written in JavaScript.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}
