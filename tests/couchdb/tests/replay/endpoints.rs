//! Names of endpoints, and which of them the agent calls: those must be imitated.

/// A request as `METHOD /shape`, with names replaced by placeholders.
pub(crate) fn endpoint(method: &str, target: &str) -> String {
    let path = target.split('?').next().unwrap_or(target);
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let shape = match segments.as_slice() {
        [] => "/".to_owned(),
        ["_node", _, "_config", rest @ ..] => {
            format!("/_node/NODE/_config{}", ["", "/SECTION", "/SECTION/KEY"][rest.len().min(2)])
        }
        ["_node", _, "_dbs", db] if *db != "_all_docs" => "/_node/NODE/_dbs/DB".to_owned(),
        ["_node", _, rest @ ..] => format!("/_node/NODE/{}", rest.join("/")),
        ["_users" | "_replicator"] => path.trim_end_matches('/').to_owned(),
        [special] if special.starts_with('_') => format!("/{special}"),
        ["_users", "_design", "_auth"] => "/_users/_design/_auth".to_owned(),
        ["_users", special] if special.starts_with('_') => format!("/_users/{special}"),
        ["_users", _] => "/_users/DOC".to_owned(),
        [first, ..] if first.starts_with('_') && *first != "_users" => format!("/{first}/…"),
        [_] => "/DB".to_owned(),
        [_, "_design" | "_local", _] => "/DB/_design/DOC".to_owned(),
        [_, special, ..] if special.starts_with('_') => format!("/DB/{special}"),
        [_, _] => "/DB/DOC".to_owned(),
        _ => "/DB/DOC/…".to_owned(),
    };
    format!("{method} {shape}")
}

/// Whether the agent calls the endpoint (the client in `couchdb/src`).
pub(crate) fn agent_calls(endpoint: &str) -> bool {
    const CALLS: [&str; 35] = [
        "GET /",
        "GET /_up",
        "GET /_session",
        "GET /_membership",
        "GET /_all_dbs",
        "PUT /_users",
        "GET /_users",
        "PUT /_replicator",
        "GET /_replicator",
        "GET /_users/_design/_auth",
        "GET /_users/DOC",
        "PUT /_users/DOC",
        "DELETE /_users/DOC",
        "POST /_users/_bulk_docs",
        "GET /_users/_all_docs",
        "POST /_users/_all_docs",
        "PUT /DB",
        "GET /DB",
        "DELETE /DB",
        "HEAD /DB",
        "GET /DB/_security",
        "PUT /DB/_security",
        "GET /_node/NODE/_config/SECTION",
        "GET /_node/NODE/_config/SECTION/KEY",
        "PUT /_node/NODE/_config/SECTION/KEY",
        "DELETE /_node/NODE/_config/SECTION/KEY",
        "POST /_session",
        "GET /_active_tasks",
        "GET /_node/NODE/_stats",
        "GET /_node/NODE/_system",
        "GET /_node/NODE/_dbs",
        "POST /_dbs_info",
        "PUT /DB/_design/DOC",
        "POST /DB/_compact",
        "GET /_node/NODE/_dbs/DB",
    ];
    CALLS.contains(&endpoint)
}
