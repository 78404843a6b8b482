//! `/DB/_security`: read by members, replaced as a whole by the database's admins.
//!
//! There is no revision and no merge: the last write wins. An invalid object, or a caller who is not an admin
//! of the database, gets a 500 `no_majority`, because the shards check the request, not the coordinator.

use serde_json::Value;

use crate::access::{Caller, is_valid_security};
use crate::node::Node;
use crate::personality::Version;
use crate::reply::{Outcome, Refusal, Reply};
use crate::request::Request;

/// All methods of `_security`.
pub(super) fn security(node: &Node, request: &Request, caller: &Caller, db: &str) -> Outcome {
    match request.verb() {
        "GET" => Ok(Reply::ok(&node.security(&node.state(), db)?)),
        "PUT" => replace(node, caller, db, request.json()?),
        _ => Err(Reply::method_not_allowed("PUT,GET")),
    }
}

fn replace(node: &Node, caller: &Caller, db: &str, security: Value) -> Outcome {
    let mut state = node.state();
    let current = node.security(&state, db)?;
    let editable =
        node.version < Version::V3_3 || state.config.is_on("couchdb", "users_db_security_editable");
    if db == "_users" && !editable {
        return Err(Reply::forbidden("You can't edit the security object of the user database."));
    }
    if !caller.is_db_admin(&current) || !is_valid_security(&security) {
        return Err(refused(node.version, caller, &current));
    }
    if state.trouble.peers_down {
        // Written here, but lost when the other nodes are back.
        state.database_mut(db)?.minority_security = Some(security);
        return Err(Reply::error(500, "error", "no_majority"));
    }
    state.database_mut(db)?.set_security(security);
    Ok(Reply::done(200))
}

fn refused(version: Version, caller: &Caller, current: &Value) -> Refusal {
    match caller.require_design_rights(current) {
        // Without a cluster, 1.x reports the actual error.
        Err(refusal) if version == Version::V1 => refusal,
        Ok(()) if version == Version::V1 => Reply::bad_request("names must be a JSON list of strings"),
        _ => Reply::error(500, "error", "no_majority"),
    }
}
