//! `/`, `/_up`, `/_uuids`, `/_membership` and the few static paths.
//!
//! All except `/_membership` are public; whether credentials are required was checked before.

use axum::http::header;
use serde_json::json;

use super::location;
use crate::node::Node;
use crate::personality::Version;
use crate::reply::{Outcome, Refusal, Reply};
use crate::request::Request;
use crate::trouble::PEERS;

/// `GET /`: the server's name and version.
pub(super) fn welcome(node: &Node, request: &Request) -> Outcome {
    only_get(request)?;
    Ok(Reply::ok(&node.version.welcome(&node.uuid)))
}

/// `GET /_up`.
pub(super) fn up(node: &Node, request: &Request) -> Outcome {
    only_get(request)?;
    match node.state().config.get("couchdb", "maintenance_mode") {
        Some("true") => return Ok(Reply::json(404, &json!({ "status": "maintenance_mode" }))),
        Some("nolb") => return Ok(Reply::json(404, &json!({ "status": "nolb" }))),
        _ => {}
    }
    let seeded = node.version >= Version::V3_3;
    Ok(Reply::ok(&if seeded { json!({ "status": "ok", "seeds": {} }) } else { json!({ "status": "ok" }) }))
}

/// `GET /_uuids?count=N`, at most 1,000.
pub(super) fn uuids(request: &Request) -> Outcome {
    only_get(request)?;
    let count = request.param("count").unwrap_or("1").parse().unwrap_or(1_usize);
    if count > 1000 {
        return Err(Reply::bad_request("count parameter too large"));
    }
    let uuids: Vec<String> = std::iter::repeat_with(new_uuid).take(count).collect();
    Ok(Reply::ok(&json!({ "uuids": uuids })))
}

/// An id like those that the server gives to documents without an id.
pub(super) fn new_uuid() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// `GET /_membership`: a cluster of one node, also under its earlier name, or of three nodes of
/// which two are down.
pub(super) fn membership(node: &Node, request: &Request) -> Outcome {
    only_get(request)?;
    let up = vec![node.name()];
    let mut all = up.clone();
    let trouble = node.state().trouble.clone();
    if trouble.peers_down {
        all.extend(PEERS.map(str::to_owned));
    }
    all.extend(trouble.renamed_from);
    all.sort_unstable();
    Ok(Reply::ok(&json!({ "all_nodes": up, "cluster_nodes": all })))
}

/// `/_utils` and `/favicon.ico` of a server without Fauxton.
pub(super) fn utils(request: &Request) -> Reply {
    if request.target == "/_utils" {
        return Reply::empty(301).with(header::LOCATION, format!("{}/", location(request, &["_utils"])));
    }
    Reply::text(404, "Not found.")
}

fn only_get(request: &Request) -> Result<(), Refusal> {
    if request.verb() == "GET" { Ok(()) } else { Err(Reply::method_not_allowed("GET,HEAD")) }
}
