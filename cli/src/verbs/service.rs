//! `service-status`, `service-start`, `service-stop`, `service-restart`, `service-wait`: CouchDB's process,
//! through the agent and trove-couchdb-hostd.

use serde_json::{Map, Value};
use trove_couchdb_protocol::host::ServiceName;

use super::Session;
use crate::{
    args::{ServiceArgs, ServiceStatusArgs, ServiceWaitArgs},
    exit::{CliError, Code},
    output::Report,
};

/// The requested change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Start,
    Stop,
    Restart,
}

impl Change {
    fn method(self) -> &'static str {
        match self {
            Self::Start => "service_start",
            Self::Stop => "service_stop",
            Self::Restart => "service_restart",
        }
    }

    fn sentence(self, answer: &Value) -> String {
        let service = text(&answer["service"]);
        let pid =
            answer["main_pid"].as_u64().map(|pid| format!("; its main process is {pid}")).unwrap_or_default();
        match (self, answer["changed"] == true) {
            (Self::Start, true) => format!("Started service {service}{pid}."),
            (Self::Start, false) => format!("Service {service} was already running{pid}."),
            (Self::Stop, true) => format!("Stopped service {service}."),
            (Self::Stop, false) => format!("Service {service} was already stopped."),
            (Self::Restart, _) => format!("Restarted service {service}{pid}."),
        }
    }
}

pub(super) async fn status(session: &Session<'_>, args: &ServiceStatusArgs) -> Result<Report, CliError> {
    let asked = arguments(args.service.as_ref(), None);
    let answer = session.agent.call("service_status", asked.into()).await?;
    Ok(Report::Record(record(&readable(answer)?)))
}

pub(super) async fn change(
    session: &Session<'_>,
    change: Change,
    args: &ServiceArgs,
) -> Result<Report, CliError> {
    let asked = arguments(args.service.as_ref(), args.within);
    let answer = readable(session.agent.call(change.method(), asked.into()).await?)?;
    Ok(Report::done(change.sentence(&answer), record(&answer)))
}

pub(super) async fn wait(session: &Session<'_>, args: &ServiceWaitArgs) -> Result<Report, CliError> {
    let mut asked = arguments(args.service.service.as_ref(), args.service.within);
    asked.insert("state".to_owned(), args.state.word().into());
    let answer = readable(session.agent.call("service_wait", asked.into()).await?)?;
    let sentence = format!("Service {} is {}.", text(&answer["service"]), text(&answer["state"]));
    Ok(Report::done(sentence, record(&answer)))
}

fn arguments(service: Option<&ServiceName>, within: Option<u64>) -> Map<String, Value> {
    let mut arguments = Map::new();
    if let Some(service) = service {
        arguments.insert("service".to_owned(), service.as_str().into());
    }
    if let Some(within) = within {
        arguments.insert("within".to_owned(), within.into());
    }
    arguments
}

fn readable(answer: Value) -> Result<Value, CliError> {
    if answer["service"].is_string() && answer["state"].is_string() {
        return Ok(answer);
    }
    Err(CliError::new(Code::Failed, "the agent's answer about the service can't be read")
        .advise("install the same version of trove-couchdb and of the agent"))
}

fn record(answer: &Value) -> Vec<(&'static str, Value)> {
    let keys = ["service", "state", "detail", "main_pid", "instance", "changed"];
    keys.into_iter().map(|key| (key, answer.get(key).cloned().unwrap_or_default())).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_says_whether_anything_was_done() {
        let answer = |changed: bool| json!({"service": "couchdb", "state": "running", "main_pid": 7, "changed": changed});
        for (change, changed, expected) in [
            (Change::Start, true, "Started service couchdb; its main process is 7."),
            (Change::Start, false, "Service couchdb was already running; its main process is 7."),
            (Change::Stop, true, "Stopped service couchdb."),
            (Change::Stop, false, "Service couchdb was already stopped."),
            (Change::Restart, true, "Restarted service couchdb; its main process is 7."),
        ] {
            assert_eq!(change.sentence(&answer(changed)), expected);
        }
    }

    #[test]
    fn an_answer_of_a_different_shape_is_an_error() {
        assert!(readable(json!({"service": "couchdb", "state": "running"})).is_ok());
        assert!(readable(json!(null)).is_err() && readable(json!({"service": "couchdb"})).is_err());
    }
}
