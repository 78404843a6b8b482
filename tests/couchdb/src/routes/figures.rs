//! `/_node/NAME/_stats`, `_system` and `_dbs`, and `/DB/_compact`.
//!
//! Only the figures that the agent reads, with the keys of a real 3.5; the counters are those of this node.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::node::Node;
use crate::reply::{Outcome, Reply};
use crate::request::Request;

/// `GET /_node/NAME/_stats`.
pub(super) fn stats(node: &Node) -> Reply {
    let mut counts = BTreeMap::<u16, u64>::new();
    for status in node.log.entries().iter().filter_map(|entry| entry.status) {
        *counts.entry(status).or_default() += 1;
    }
    let counter = |value: u64| json!({ "value": value, "type": "counter", "desc": "" });
    let statuses: Map<String, Value> = [200, 201, 401, 404, 500]
        .into_iter()
        .map(|code| (code, counts.get(&code).copied().unwrap_or_default()))
        .map(|(code, count)| (code.to_string(), counter(count)))
        .collect();
    let files = u64::try_from(node.state().databases.len()).unwrap_or(u64::MAX).saturating_mul(2);
    Reply::ok(&json!({
        "couchdb": {
            "httpd_status_codes": statuses,
            "open_databases": counter(files),
            "open_os_files": counter(files),
            "request_time": {
                "value": {
                    "min": 0.1, "max": 9.0, "arithmetic_mean": 1.0,
                    "percentile": [[50, 0.8], [75, 1.1], [90, 2.0], [95, 4.0], [99, 8.0], [999, 9.0]]
                },
                "type": "histogram", "desc": "length of a request inside CouchDB without MochiWeb"
            }
        },
        "couch_replicator": {
            "jobs": {
                "total": { "value": 0, "type": "gauge" }, "running": { "value": 0, "type": "gauge" },
                "pending": { "value": 0, "type": "gauge" }, "crashed": { "value": 0, "type": "gauge" }
            }
        }
    }))
}

/// `GET /_node/NAME/_system`.
pub(super) fn system() -> Reply {
    Reply::ok(&json!({
        "uptime": 1,
        "memory": {
            "other": 30_000_000, "atom": 800_000, "atom_used": 790_000, "processes": 25_000_000,
            "processes_used": 24_900_000, "binary": 400_000, "code": 18_000_000, "ets": 4_000_000
        },
        "run_queue": 0, "process_count": 400, "process_limit": 262_144
    }))
}

/// `GET /_node/NAME/_dbs`: the database of shard maps.
pub(super) fn shard_maps(node: &Node) -> Reply {
    let count = node.state().databases.len();
    Reply::ok(&json!({
        "db_name": "_dbs", "engine": "couch_bt_engine", "doc_count": count, "doc_del_count": 0, "update_seq": count,
        "purge_seq": 0, "compact_running": false, "sizes": { "active": 1083, "external": 1074, "file": 16_590 },
        "instance_start_time": "1795419505866494", "disk_format_version": 8, "committed_update_seq": count,
        "compacted_seq": 0, "props": {}, "uuid": node.uuid
    }))
}

/// `GET /_node/NAME/_dbs/DB`: which node holds the shards of a database.
pub(super) fn shard_map(node: &Node, db: &str) -> Outcome {
    let state = node.state();
    if !state.databases.contains_key(db) {
        return Err(Reply::not_found("missing"));
    }
    let holder = state.trouble.renamed_from.clone().unwrap_or_else(|| node.name());
    let ranges = ["00000000-7fffffff", "80000000-ffffffff"];
    let changelog: Vec<Value> = ranges.iter().map(|range| json!(["add", range, holder])).collect();
    let by_range: Map<String, Value> =
        ranges.iter().map(|range| ((*range).to_owned(), json!([holder]))).collect();
    Ok(Reply::ok(&json!({
        "_id": db, "_rev": "1-97f66f937735b31c39b5fa42c954d8f2", "shard_suffix": ".1700000000".as_bytes(),
        "changelog": changelog, "by_node": { holder: ranges }, "by_range": by_range, "props": {}
    })))
}

/// `GET /_active_tasks`: compactions end at once, and there are no replications.
pub(super) fn active_tasks(request: &Request) -> Outcome {
    if request.verb() != "GET" {
        return Err(Reply::method_not_allowed("GET,HEAD"));
    }
    Ok(Reply::ok(&json!([])))
}

/// `POST /DB/_compact`: done at once, unless the disk is full.
pub(super) fn compact(node: &Node, request: &Request, db: &str) -> Outcome {
    if request.verb() != "POST" {
        return Err(Reply::method_not_allowed("POST"));
    }
    request.posted_json()?;
    let mut state = node.state();
    state.database(db)?;
    if !state.trouble.disk_full
        && let Some(fat) = state.trouble.fat.get_mut(db)
    {
        fat.file = fat.active;
    }
    Ok(Reply::done(202))
}
