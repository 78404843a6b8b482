//! Liveness, statistics and refused commands.

use std::time::Duration;

use serde_json::json;
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};

use super::super::Tour;

/// The first heartbeat is sent at start.
const HEARTBEAT_LIMIT: Duration = crate::until::HUNG;

/// `rpc_ping` and the heartbeat.
pub(super) async fn alive(tour: &mut Tour) {
    tour.transcript.section("The agent is alive");
    let answer = tour.call("rpc_ping", json!({})).await;
    tour.transcript.check("answers true", answer == true);
    let healthy = |cast: &ConductorCast| {
        matches!(cast, ConductorCast::Heartbeat { status: Some(ServiceStatus::Healthy), .. })
    };
    let heartbeat = tour.conductor.next(HEARTBEAT_LIMIT, healthy).await;
    tour.transcript.check("has reported the status healthy to the conductor", heartbeat.is_ok());
}

/// `get_filesystem_stats` and refusals.
pub(super) async fn run(tour: &mut Tour) {
    tour.transcript.section("Statistics, and what is not supported");
    let stats = tour.call("get_filesystem_stats", json!({"fs_path": "/"})).await;
    let (used, total) = (stats["used"].as_f64(), stats["total"].as_f64());
    let sane = used.zip(total).is_some_and(|(used, total)| 0.0 < used && used < total && total < 1e6);
    tour.transcript.check("used and total are those of a real file system, in GB", sane);
    tour.refused("get_hwinfo", json!({}), "not support").await;
    tour.refused("no_such_method", json!({}), "no_such_method").await;
}
