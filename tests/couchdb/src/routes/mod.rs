//! From a request to a reply: authenticates, authorizes, and dispatches to a handler.
//!
//! The order is CouchDB's. So a wrong password is a 401 everywhere, even where anonymous requests are
//! allowed. Caller: `server`. Each family of endpoints has its own file.

mod all_docs;
mod bulk;
mod config;
mod databases;
mod documents;
mod root;
mod security;
mod session;

use std::sync::Arc;

use axum::http::header;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::access::Caller;
use crate::auth::identify;
use crate::node::Node;
use crate::personality::Version;
use crate::reply::{Outcome, Refusal, Reply};
use crate::request::Request;
use crate::trouble;

/// The characters that CouchDB escapes in names in headers.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.').remove(b'~');

/// Endpoints of the server that this node does not imitate; only admins get the 501.
const SERVER_WIDE: [&str; 8] = [
    "_active_tasks",
    "_cluster_setup",
    "_db_updates",
    "_reshard",
    "_scheduler",
    "_search_analyze",
    "_nouveau_analyze",
    "_replicate",
];

/// Endpoints of a database that this node does not imitate.
const PER_DATABASE: [&str; 19] = [
    "_bulk_get",
    "_changes",
    "_compact",
    "_design_docs",
    "_ensure_full_commit",
    "_explain",
    "_find",
    "_index",
    "_local_docs",
    "_missing_revs",
    "_partition",
    "_purge",
    "_purged_infos",
    "_purged_infos_limit",
    "_revs_diff",
    "_revs_limit",
    "_shards",
    "_sync_shards",
    "_view_cleanup",
];

/// Answers a request; also returns the authenticated user.
pub(crate) async fn answer(node: &Arc<Node>, request: &Request) -> (Reply, Option<String>) {
    let (outcome, user) = match identify(node, request).await {
        Err(refusal) => (Err(refusal), None),
        Ok(caller) => (route(node, request, &caller).await, caller.name),
    };
    let reply = match outcome {
        // Without the other nodes a write is accepted, but not yet stored on a majority.
        Ok(reply) if reply.status() == 201 && node.state().trouble.peers_down => reply.under_status(202),
        Ok(reply) => reply,
        Err(refusal) => finish(node, request, refusal),
    };
    (reply, user)
}

/// Redirects a browser with a 401 to the login page, as CouchDB does; other clients are asked for Basic if it
/// is required.
///
/// A missing database has a different reason on 1.x, which opens files itself.
fn finish(node: &Node, request: &Request, refusal: Refusal) -> Reply {
    if node.version == Version::V1
        && refusal.status() == 404
        && refusal.reason() == "Database does not exist."
    {
        return Reply::not_found("no_db_file");
    }
    if refusal.status() != 401 {
        return refusal;
    }
    if node.state().config.is_on("chttpd", "require_valid_user") {
        return refusal.with(header::WWW_AUTHENTICATE, "Basic realm=\"server\"");
    }
    if request.header("accept").is_some_and(|accept| accept.contains("text/html")) {
        let state = node.state();
        let page = state.auth_setting("authentication_redirect").unwrap_or("/_utils/session.html");
        let page = format!("{page}?return={}", utf8_percent_encode(&request.target, NAME));
        return refusal.under_status(302).with(header::LOCATION, page);
    }
    refusal
}

/// The absolute address of a path on this node.
fn location(request: &Request, path: &[&str]) -> String {
    let host = request.header("host").unwrap_or("127.0.0.1");
    let path =
        path.iter().map(|name| utf8_percent_encode(name, NAME).to_string()).collect::<Vec<_>>().join("/");
    format!("http://{host}/{path}")
}

async fn route(node: &Arc<Node>, request: &Request, caller: &Caller) -> Outcome {
    authorize(node, request, caller)?;
    let path = request.path();
    if node.version.is_clustered() && node.state().config.is_on("couchdb", "maintenance_mode") {
        refuse_in_maintenance(node, request.verb(), &path)?;
    }
    let clustered = node.version.is_clustered();
    if let Some(refusal) = trouble::refusal(node, request.verb(), &path) {
        return Err(refusal);
    }
    match path.as_slice() {
        [] => root::welcome(node, request),
        ["_up"] if clustered => root::up(node, request),
        ["_uuids"] => root::uuids(request),
        ["_utils" | "favicon.ico", ..] => Ok(root::utils(request)),
        ["_membership"] if clustered => root::membership(node, request),
        ["_session"] => session::session(node, request, caller).await,
        ["_all_dbs"] => databases::list(node, request),
        ["_dbs_info"] if clustered => databases::infos(node, request),
        ["_node", rest @ ..] if clustered => config::node(node, request, rest),
        ["_config", rest @ ..] if !clustered => config::config(node, request, rest),
        [name, ..] if SERVER_WIDE.contains(name) => Err(Reply::not_implemented(name)),
        [db] => databases::database(node, request, caller, db).await,
        [db, "_security"] => security::security(node, request, caller, db),
        [db, "_all_docs"] => all_docs::all_docs(node, request, caller, db),
        [db, "_bulk_docs"] => bulk::bulk_docs(node, request, caller, db).await,
        [_, name, ..] if PER_DATABASE.contains(name) => Err(Reply::not_implemented(name)),
        [_, "_design" | "_local"] | [_, "_security", ..] => Err(Reply::not_found("missing")),
        [db, "_local", name] => documents::local(node, request, db, name),
        [db, "_design", name] => {
            documents::document(node, request, caller, db, &format!("_design/{name}")).await
        }
        [_, "_design", ..] => {
            Err(Reply::not_implemented("views, shows, lists or attachments of design documents"))
        }
        [db, id] => documents::document(node, request, caller, db, id).await,
        [db, id, ..] => documents::attachment(node, request, caller, db, id),
    }
}

/// Refuses what a node in maintenance mode cannot serve, as 3.5.2 does: requests that need shards fail,
/// others work.
fn refuse_in_maintenance(node: &Node, verb: &str, path: &[&str]) -> Result<(), Refusal> {
    let node_down = || Err(Reply::error(412, "nodedown", &node.name()));
    match path {
        ["_all_dbs" | "_dbs_info"] | [_, "_all_docs"] => node_down(),
        [] | ["_up" | "_session" | "_node" | "_membership" | "_uuids" | "_utils" | "favicon.ico", ..] => {
            Ok(())
        }
        [_] if verb == "PUT" || verb == "DELETE" => Ok(()),
        [_, "_bulk_docs"] => {
            Err(Reply::error(500, "error", &format!("{{maintenance_mode,'{}'}}", node.name())))
        }
        _ => Err(Reply::crash("internal_server_error", "No DB shards could be opened.")),
    }
}

/// The checks of upstream's `chttpd_auth_request:authorize_request_int/1` before any handler runs.
fn authorize(node: &Node, request: &Request, caller: &Caller) -> Result<(), Refusal> {
    let path = request.path();
    let verb = request.verb();
    match path.as_slice() {
        [] | ["favicon.ico" | "_up" | "_uuids" | "_utils" | "_session" | "_replicate", ..] => Ok(()),
        ["_all_dbs" | "_dbs_info", ..] if node.version.lists_databases_to_everyone() => Ok(()),
        ["_users" | "_replicator", "_all_docs" | "_changes", ..] => system_listing(node, caller),
        ["_users" | "_replicator"] if verb == "PUT" || verb == "DELETE" => caller.require_server_admin(),
        ["_users" | "_replicator", ..] => require_member(node, caller, &path),
        ["_node", _, "_stats" | "_system" | "_prometheus", ..] if !caller.is_server_admin() => {
            Err(Reply::unauthorized("You are not a server admin or read-only metrics user"))
        }
        [first, ..] if first.starts_with('_') => caller.require_server_admin(),
        [_] if verb == "PUT" || verb == "DELETE" => caller.require_server_admin(),
        [_, "_purge" | "_purged_infos_limit" | "_sync_shards", ..] => caller.require_server_admin(),
        [db, "_compact" | "_view_cleanup", ..] => {
            require_member(node, caller, &path)?;
            let security = node.security(&node.state(), db)?;
            let denied = || Reply::unauthorized("You are not a server or db admin.");
            if caller.is_db_admin(&security) { Ok(()) } else { Err(denied()) }
        }
        _ => require_member(node, caller, &path),
    }
}

fn require_member(node: &Node, caller: &Caller, path: &[&str]) -> Result<(), Refusal> {
    let Some(db) = path.first() else { return Ok(()) };
    let security = node.security(&node.state(), db)?;
    caller.require_member(&security)
}

fn system_listing(node: &Node, caller: &Caller) -> Result<(), Refusal> {
    if node.version >= Version::V3_3 {
        return caller.require_server_admin();
    }
    let reason = "Only admins can access _all_docs of system databases.";
    if caller.is_server_admin() { Ok(()) } else { Err(Reply::forbidden(reason)) }
}
