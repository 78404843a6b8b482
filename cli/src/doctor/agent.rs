//! The agent: whether it answers on its socket, and its view of the broker, CouchDB and the control plane.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use trove_couchdb_config::Settings;
use trove_couchdb_guest::state::{self, Stage};

use super::{Check, Finding};
use crate::{
    args::{DEFAULT_SOCKET, Global},
    client::{CallError, Connection, LocalClient},
};

static SOCKET: Check = Check::new("agent.socket", "The agent answers on its local socket");
static PREPARED: Check = Check::new("agent.prepared", "Trove has prepared this guest");
static BROKER: Check = Check::new("agent.broker", "The agent is connected to its broker");
static COUCHDB: Check = Check::new("agent.couchdb", "The agent finds its CouchDB healthy");
static HEARTBEAT: Check = Check::new("agent.heartbeat", "Heartbeats go out to the control plane");

pub(super) const CHECKS: &[&Check] = &[&SOCKET, &PREPARED, &BROKER, &COUCHDB, &HEARTBEAT];

/// The timeout for answers that need neither CouchDB nor the broker. An agent that takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(10);

/// After this many intervals without a heartbeat, the heartbeat is overdue.
const OVERDUE: u32 = 3;

/// A connection for requests that the agent answers immediately.
pub(super) fn connection(global: &Global, settings: Option<&Settings>) -> Connection {
    connection_within(TIMEOUT.min(global.timeout), global, settings)
}

/// A connection for requests that cause many requests to CouchDB.
pub(super) fn patient_connection(global: &Global, settings: Option<&Settings>) -> Connection {
    connection_within(global.timeout, global, settings)
}

/// Uses the socket of the command line, otherwise the configured socket.
fn connection_within(limit: Duration, global: &Global, settings: Option<&Settings>) -> Connection {
    let named = global.transport.socket.as_path();
    let configured = settings.and_then(|settings| settings.local.socket.as_deref());
    let path =
        if named == std::path::Path::new(DEFAULT_SOCKET) { configured.unwrap_or(named) } else { named };
    Connection::local(LocalClient::new(path, limit))
}

pub(super) async fn look(
    agent: &Connection,
    settings: Option<&Settings>,
    findings: &mut Vec<Finding>,
) -> Option<Value> {
    let answer = agent.call("get_agent_status", json!({})).await;
    if let Some(settings) = settings {
        findings.push(prepared(settings));
    }
    match answer {
        Ok(status) => {
            let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
            findings.push(SOCKET.ok(format!("version {}, pid {}", text(&status["version"]), status["pid"])));
            findings.push(broker(&status["broker"]));
            findings.push(couchdb(&status["couchdb"]));
            findings.push(heartbeat(&status, settings));
            Some(status)
        }
        Err(error) => {
            findings.push(silent(&error));
            findings.extend(
                [&BROKER, &COUCHDB, &HEARTBEAT].map(|check| check.skipped("the agent does not answer")),
            );
            None
        }
    }
}

fn silent(error: &CallError) -> Finding {
    let advice = match error {
        CallError::Timeout { .. } => {
            "the agent hangs: `systemctl restart trove-couchdb-agent` is always safe; keep its journal for a report"
                .to_owned()
        }
        other => other.advice().unwrap_or_default(),
    };
    SOCKET.failed(error.to_string(), advice)
}

fn prepared(settings: &Settings) -> Finding {
    let file = settings.guest.state_dir.join("prepared.json");
    match state::state_in(&settings.guest.state_dir, &settings.guest.id).map(|state| state.stage) {
        Ok(Stage::Ready) => PREPARED.ok("prepared.json says so"),
        Ok(Stage::Settling) => PREPARED.ok("a moment ago, and not seen healthy since"),
        Ok(Stage::Failed { reason, .. }) => {
            PREPARED.failed(reason, "create the instance again, or send `prepare` again without what failed")
        }
        Ok(Stage::Building { .. }) => PREPARED.warning(
            "`prepare` is being carried out, or was when the agent ended",
            "wait; an agent that starts goes on with it: `trove-couchdb operation-list` shows how far it is",
        ),
        Ok(Stage::New) if settings.heartbeat.assume_prepared => {
            PREPARED.ok("not by Trove; heartbeat.assume_prepared replaces it")
        }
        Ok(Stage::New) if settings.broker.is_none() => {
            PREPARED.skipped("there is no broker, so no Trove either")
        }
        Ok(Stage::New) => PREPARED.warning(
            "Trove has not sent `prepare`, so no heartbeats go out",
            "wait if the instance is being created; for a guest made by hand set heartbeat.assume_prepared",
        ),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            PREPARED.not_run(format!("{} can't be read: {error}", file.display()))
        }
        Err(error) => PREPARED.failed(
            format!("{} can't be read: {error}", file.display()),
            "write {\"prepared\": true} into it if Trove's `prepare` had succeeded, else remove it",
        ),
    }
}

fn broker(broker: &Value) -> Finding {
    let reason = broker["reason"].as_str().unwrap_or("no reason given");
    match broker["state"].as_str() {
        Some("up") => BROKER.ok(broker["address"].as_str().unwrap_or("connected")),
        Some("blocked") => BROKER.failed(
            reason,
            "free memory or disk on the broker (`rabbitmq-diagnostics alarms` there says which); answers go out by themselves then",
        ),
        Some("none") => BROKER.ok("none is configured (transport_url is local:)"),
        _ => BROKER.failed(
            reason,
            "see the checks of the broker below; the agent tries again by itself, and commands wait in its queue",
        ),
    }
}

fn couchdb(couchdb: &Value) -> Finding {
    let reason = couchdb["reason"].as_str().unwrap_or("no reason given");
    match couchdb["state"].as_str() {
        Some("healthy") => COUCHDB.ok("healthy"),
        Some("unknown") => COUCHDB.not_run("the agent has not asked it yet"),
        Some("slow") => COUCHDB
            .warning(reason, "look at the load of the machine and at CouchDB's log; commands are served"),
        _ => COUCHDB.failed(reason, "see the checks of CouchDB below"),
    }
}

fn heartbeat(status: &Value, settings: Option<&Settings>) -> Finding {
    let interval = settings.map_or(Duration::from_secs(60), |settings| settings.heartbeat.interval);
    let sent = status["heartbeat"]["sent_at"].as_f64();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
    let overdue = (interval * OVERDUE).as_secs_f64();
    if status["broker"]["state"] == "none" {
        return HEARTBEAT.skipped("there is no broker to send them to");
    }
    if status["prepared"] == false {
        return HEARTBEAT.skipped("there are none before Trove has prepared the guest");
    }
    match sent {
        Some(at) if now - at < overdue => {
            let status = status["heartbeat"]["status"].as_str().unwrap_or("unknown");
            HEARTBEAT.ok(format!("{status}, {:.0} s ago", (now - at).max(0.0)))
        }
        None if status["uptime_s"].as_f64().unwrap_or_default() < overdue => {
            HEARTBEAT.skipped("the agent has only just started")
        }
        _ => HEARTBEAT.failed(
            "no heartbeat for more than three intervals: Trove takes the instance for dead",
            "look at the checks of the broker; the agent's journal says why a heartbeat was not sent",
        ),
    }
}
