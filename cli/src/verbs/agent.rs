//! `ping`, `status`, `rotate-os-admin` and `log-level`: the agent itself.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use trove_couchdb_protocol::trove::LogFilter;

use super::{Session, operation::stand};
use crate::{args::LogLevelArgs, exit::CliError, output::Report};

pub(super) async fn ping(session: &Session<'_>) -> Result<Report, CliError> {
    let begun = Instant::now();
    let answer = session.agent.call("rpc_ping", json!({})).await?;
    let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let record = vec![("alive", (answer == true).into()), ("milliseconds", milliseconds.into())];
    Ok(Report::done(format!("The agent answers, within {milliseconds} ms."), record))
}

pub(super) async fn rotate_os_admin(session: &Session<'_>) -> Result<Report, CliError> {
    session.agent.call("rotate_os_admin", json!({})).await?;
    let message = "os_admin's password was changed and saved in the agent's credentials file.";
    Ok(Report::done(message, vec![("name", "os_admin".into())]))
}

pub(super) async fn log_level(session: &Session<'_>, args: &LogLevelArgs) -> Result<Report, CliError> {
    let filter = args.filter.as_ref().map(LogFilter::as_str);
    let answer = session.agent.call("set_log_filter", json!({ "filter": filter })).await?;
    let message = format!("The agent now logs {}.", text(&answer["filter"]));
    Ok(Report::done(message, vec![("filter", answer["filter"].clone())]))
}

pub(super) async fn status(session: &Session<'_>) -> Result<Report, CliError> {
    let status = session.agent.call("get_agent_status", json!({})).await?;
    if session.output.is_table() {
        Ok(status_report(&status))
    } else {
        Ok(Report::Record(as_record(&status)))
    }
}

/// The keys of the answer, in the agent's order and form.
const KEYS: [&str; 12] = [
    "version",
    "guest_id",
    "pid",
    "uptime_s",
    "prepared",
    "guest",
    "broker",
    "couchdb",
    "commands",
    "heartbeat",
    "operations",
    "last_error",
];

fn as_record(status: &Value) -> Vec<(&'static str, Value)> {
    KEYS.into_iter().map(|key| (key, status[key].clone())).collect()
}

/// The answer of `get_agent_status` for people.
pub fn status_report(status: &Value) -> Report {
    let (broker, couchdb) = (&status["broker"], &status["couchdb"]);
    let commands = &status["commands"];
    let count = |key: &str| commands[key].as_u64().unwrap_or_default();
    let prepared = match (&status["prepared"], broker["state"].as_str()) {
        (Value::Bool(true), _) => "yes",
        // Trove reaches an agent only over its broker.
        (_, Some("none")) => "not by Trove: there is no broker",
        _ => "no: Trove has not sent `prepare` yet",
    };
    Report::Record(vec![
        ("agent", format!("{}, pid {}", text(&status["version"]), status["pid"]).into()),
        ("instance", status["guest_id"].clone()),
        ("up for", duration(status["uptime_s"].as_f64().unwrap_or_default()).into()),
        ("prepared", prepared.into()),
        ("broker", state(broker, broker["address"].as_str()).into()),
        ("couchdb", decided(&status["guest"], server(couchdb)).into()),
        ("couchdb version", couchdb["version"].clone()),
        (
            "commands",
            format!(
                "{} running, {} waiting; {} done, {} failed, {} duplicates",
                count("running"),
                count("waiting"),
                count("done"),
                count("failed"),
                count("duplicates")
            )
            .into(),
        ),
        ("operations", operations(&status["operations"]).into()),
        ("last heartbeat", heartbeat(&status["heartbeat"]).into()),
        ("last error", last_error(&status["last_error"]).into()),
    ])
}

fn state(part: &Value, place: Option<&str>) -> String {
    let mut line = text(&part["state"]);
    if let Some(place) = place {
        line += &format!(" ({place})");
    }
    if let Some(reason) = part["reason"].as_str().filter(|reason| !reason.is_empty()) {
        line += &format!(": {reason}");
    }
    line
}

/// What is seen of CouchDB, and the free space if it is low. Older agents do not report the space.
fn server(couchdb: &Value) -> String {
    let seen = state(couchdb, couchdb["url"].as_str());
    couchdb["room"].as_str().map_or_else(|| seen.clone(), |room| format!("{seen}; {room}"))
}

/// The intended state of CouchDB's process comes first, because it explains the
/// observed one. Older agents do not report it.
fn decided(guest: &Value, seen: String) -> String {
    let decided = match guest["server"].as_str() {
        Some("stopping") => format!("being stopped on purpose; {seen}"),
        Some("stopped") => format!("stopped on purpose, see service-start; {seen}"),
        Some("restarting") => format!("being started; {seen}"),
        _ => seen,
    };
    match guest["restart_required"].as_str() {
        Some(reason) => format!("{decided}; to be restarted, see service-restart ({reason})"),
        None => decided,
    }
}

/// Older agents report no operations.
fn operations(operations: &Value) -> String {
    let all = operations.as_array().map(Vec::as_slice).unwrap_or_default();
    let one = |one: &Value| format!("{} {} ({})", text(&one["kind"]), text(&one["id"]), stand(one));
    if all.is_empty() { "none".to_owned() } else { all.iter().map(one).collect::<Vec<_>>().join("; ") }
}

fn heartbeat(heartbeat: &Value) -> String {
    match heartbeat["sent_at"].as_f64() {
        None => "none sent yet".to_owned(),
        Some(at) => format!("{}, {}", text(&heartbeat["status"]), ago(at)),
    }
}

fn last_error(error: &Value) -> String {
    match error["at"].as_f64() {
        None => "none".to_owned(),
        Some(at) => format!("{} ({}): {}", text(&error["method"]), ago(at), text(&error["message"])),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("unknown").to_owned()
}

/// How long ago a Unix time was. It is in the future if the clock was set back.
fn ago(at: f64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
    if at > now {
        format!("{} ahead of this clock", duration(at - now))
    } else {
        format!("{} ago", duration(now - at))
    }
}

/// `3 d 4 h`, `5 min 6 s`, `7 s`: the two largest units.
fn duration(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = whole;
    let mut parts = Vec::new();
    for (length, unit) in units {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            parts.push(format!("{count} {unit}"));
        }
    }
    parts.truncate(2);
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        assert_eq!(duration(0.4), "0 s");
        assert_eq!(duration(61.0), "1 min 1 s");
        assert_eq!(duration(90_061.0), "1 d 1 h");
        assert_eq!(duration(-5.0), "0 s");
        assert_eq!(duration(f64::NAN), "0 s");
    }

    #[test]
    fn what_was_decided_about_couchdb_is_said_before_what_is_seen_of_it() {
        let shown = |guest: Value| decided(&guest, "down: refused".to_owned());
        assert_eq!(shown(json!(null)), "down: refused");
        let stopped = json!({"server": "stopped", "restart_required": null});
        assert_eq!(shown(stopped), "stopped on purpose, see service-start; down: refused");
        let waiting = json!({"server": "running", "restart_required": "chttpd.port"});
        assert_eq!(shown(waiting), "down: refused; to be restarted, see service-restart (chttpd.port)");
    }

    #[test]
    fn a_status_without_a_broker_or_a_login_says_so() {
        let status = json!({
            "version": "0.1.0", "guest_id": "g", "pid": 7, "uptime_s": 3.5, "prepared": false,
            "broker": {"state": "none", "address": null, "reason": null},
            "couchdb": {"state": "no_login", "reason": "refused", "url": "http://h:1", "version": null},
            "commands": {"running": 0, "waiting": 1, "done": 2, "failed": 3, "duplicates": 4},
            "heartbeat": {"status": null, "sent_at": null}, "last_error": null,
        });
        let Report::Record(record) = status_report(&status) else { unreachable!("a record") };
        let of = |name: &str| record.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
        assert_eq!(of("broker"), Some("none".into()));
        assert_eq!(of("couchdb"), Some("no_login (http://h:1): refused".into()));
        assert_eq!(of("last heartbeat"), Some("none sent yet".into()));
        assert_eq!(of("last error"), Some("none".into()));
        assert_eq!(of("prepared"), Some("not by Trove: there is no broker".into()));
        assert_eq!(of("up for"), Some("3 s".into()));
        let low = json!({"state": "healthy", "reason": null, "url": "http://h:1", "room": "8 % of its disk is free"});
        assert_eq!(server(&low), "healthy (http://h:1); 8 % of its disk is free");
    }
}
