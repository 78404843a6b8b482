//! The answer to `get_agent_status`: what an operator asks first, from what the agent already knows.
//!
//! The agent asks neither CouchDB nor the broker for it, so it answers even while both hang. `app` builds it,
//! and a handler reads it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{CommandCounters, Figures, LastError, LastReported, Link, ProbeResult, Retrying};
use crate::{
    couch::{Degraded, Health},
    guest::{self, Lifecycle},
    operations::{OperationRecord, Operations},
    room::RoomReport,
};

/// The sources of the report.
#[derive(Debug, Clone)]
pub struct AgentStatus {
    /// `guest.id`.
    pub guest_id: String,
    /// `couchdb.url`.
    pub couchdb_url: String,
    /// When the agent started.
    pub started: Instant,
    /// The guest's state.
    pub lifecycle: Lifecycle,
    /// Whether the guest counts as prepared regardless of Trove.
    pub assume_prepared: bool,
    /// CouchDB's health.
    pub health: watch::Receiver<ProbeResult>,
    /// The free space for CouchDB's databases.
    pub room: watch::Receiver<RoomReport>,
    /// The connection to the broker.
    pub link: watch::Receiver<Link>,
    /// The last heartbeat that the broker accepted.
    pub last_reported: watch::Receiver<Option<LastReported>>,
    /// The counts of commands.
    pub counters: CommandCounters,
    /// The commands that take hours.
    pub operations: Operations,
}

impl AgentStatus {
    /// The report at this moment. CouchDB's version is known only after CouchDB was asked for it.
    pub fn now(&self, couchdb_version: Option<&str>) -> Value {
        let state = self.lifecycle.last_known();
        let prepared = self.assume_prepared || state.stage.is_prepared();
        let (couchdb, reason) = health(&self.health.borrow().health);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "guest_id": self.guest_id,
            "pid": std::process::id(),
            "uptime_s": self.started.elapsed().as_secs_f64(),
            "prepared": prepared,
            "guest": {
                "stage": guest::stage_word(&state.stage),
                "server": guest::server_word(&state.server),
                "restart_required": state.restart_required.as_ref().map(|required| &required.reason),
            },
            "broker": broker(&self.link.borrow()),
            "couchdb": {
                "state": couchdb, "reason": reason, "url": self.couchdb_url, "version": couchdb_version,
                "room": self.room.borrow().note(),
            },
            "commands": commands(&self.counters.figures()),
            "operations": operations(&self.operations),
            "heartbeat": heartbeat(*self.last_reported.borrow()),
            "last_error": self.counters.figures().last_error.as_ref().map(last_error),
        })
    }
}

fn health(health: &Health) -> (&'static str, Option<String>) {
    match health {
        Health::Unknown => ("unknown", None),
        Health::Healthy => ("healthy", None),
        Health::Slow(reason) => ("slow", Some(reason.clone())),
        Health::NoLogin(reason) => ("no_login", Some(reason.clone())),
        Health::Down(reason) => ("down", Some(reason.clone())),
        Health::Degraded(Degraded { reason, .. }) => ("degraded", Some(reason.clone())),
        Health::Maintenance(reason) => ("maintenance", Some(reason.clone())),
        Health::Failing(reason) => ("failing", Some(reason.clone())),
    }
}

fn broker(link: &Link) -> Value {
    match link {
        Link::Absent => json!({"state": "none", "address": null, "reason": null}),
        Link::Up { address } => json!({"state": "up", "address": address, "reason": null}),
        Link::Blocked { address, reason } => {
            let reason = format!("the broker takes no messages ({reason}); answers wait");
            json!({"state": "blocked", "address": address, "reason": reason})
        }
        Link::Down { address, reason } => {
            let reason = if reason.is_empty() { "not connected yet" } else { reason };
            json!({"state": "down", "address": address, "reason": reason})
        }
    }
}

fn commands(figures: &Figures) -> Value {
    let Figures { running, waiting, done, failed, duplicates, retrying, .. } = figures;
    let retrying = retrying.as_ref().map(|Retrying { method, reason, retry_timeout }| {
        json!({"method": method, "reason": reason, "retry_timeout_s": retry_timeout.as_secs_f64()})
    });
    json!({
        "running": running, "waiting": waiting, "done": done, "failed": failed, "duplicates": duplicates,
        "retrying": retrying,
    })
}

/// The operations in progress.
fn operations(operations: &Operations) -> Value {
    let all = operations.all();
    all.iter().filter(|record| record.end.is_none()).map(OperationRecord::summary).collect()
}

fn heartbeat(last_reported: Option<LastReported>) -> Value {
    json!({"status": last_reported.map(|last_reported| last_reported.status.as_str()), "sent_at": last_reported.map(|last_reported| last_reported.sent_at)})
}

fn last_error(error: &LastError) -> Value {
    json!({"at": unix(error.at), "method": error.method, "message": error.message})
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use trove_couchdb_config::OperationSettings;
    use trove_couchdb_protocol::{Failure, FailureClass, trove::ServiceStatus};

    use super::*;

    #[test]
    fn every_key_is_there_in_every_state() {
        let directory = tempfile::tempdir().unwrap();
        let (health_writer, health) = watch::channel(ProbeResult::from(Health::Unknown));
        let (link_writer, link) = watch::channel(Link::Absent);
        let (told_writer, last_reported) = watch::channel(None);
        let agent_status = AgentStatus {
            guest_id: "g".into(),
            couchdb_url: "http://h:1".into(),
            started: Instant::now(),
            lifecycle: Lifecycle::load(directory.path(), "g").0,
            assume_prepared: false,
            health,
            room: watch::channel(RoomReport::default()).1,
            link,
            last_reported,
            counters: CommandCounters::default(),
            operations: Operations::load(
                directory.path(),
                OperationSettings { keep: 1, keep_for: Duration::from_secs(60) },
            ),
        };
        let mut first = agent_status.now(None);
        assert!(first["pid"].is_u64() && first["uptime_s"].is_f64());
        for key in ["pid", "uptime_s", "version"] {
            first.as_object_mut().unwrap().remove(key);
        }
        assert_eq!(
            first,
            json!({
                "guest_id": "g", "prepared": false,
                "guest": {"stage": "new", "server": "running", "restart_required": null},
                "broker": {"state": "none", "address": null, "reason": null},
                "couchdb": {"state": "unknown", "reason": null, "url": "http://h:1", "version": null, "room": null},
                "commands": {"running": 0, "waiting": 0, "done": 0, "failed": 0, "duplicates": 0, "retrying": null},
                "operations": [],
                "heartbeat": {"status": null, "sent_at": null},
                "last_error": null,
            })
        );
        health_writer.send_replace(Health::Down("refused".into()).into());
        link_writer.send_replace(Link::Up { address: "h:5672".into() });
        told_writer.send_replace(Some(LastReported {
            status: ServiceStatus::Shutdown,
            sent_at: 5.0,
            at: Instant::now(),
        }));
        agent_status.counters.failed("create_user", &Failure::new(FailureClass::UserRejected, "why"));
        let agent_status = AgentStatus { assume_prepared: true, ..agent_status };
        let later = agent_status.now(Some("3.4"));
        assert_eq!(later["prepared"], true);
        assert_eq!(later["broker"], json!({"state": "up", "address": "h:5672", "reason": null}));
        assert_eq!(later["couchdb"]["state"], "down");
        assert_eq!(later["couchdb"]["version"], "3.4");
        assert_eq!(later["heartbeat"], json!({"status": "shutdown", "sent_at": 5.0}));
        assert_eq!(
            (&later["last_error"]["method"], &later["last_error"]["message"]),
            (&json!("create_user"), &json!("why"))
        );
        link_writer.send_replace(Link::Blocked { address: "h:5672".into(), reason: "low on memory".into() });
        let blocked = agent_status.now(None)["broker"].clone();
        let reason = "the broker takes no messages (low on memory); answers wait";
        assert_eq!(blocked, json!({"state": "blocked", "address": "h:5672", "reason": reason}));
        link_writer.send_replace(Link::not_tried());
        let down = agent_status.now(None)["broker"].clone();
        assert_eq!(down, json!({"state": "down", "address": null, "reason": "not connected yet"}));
    }
}
