//! `operation-list`, `operation-show`, `operation-logs`, `operation-wait`, `operation-cancel`,
//! `operation-rehearse`: commands that may take hours.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{self, Instant};
use trove_couchdb_protocol::OperationId;

use super::Session;
use crate::{
    args::{OperationRehearseArgs, OperationWaitArgs},
    exit::{CliError, Code},
    output::Report,
    progress::OperationBar,
};

/// The interval at which the agent is asked while waiting.
const LOOK: Duration = Duration::from_millis(500);

const COLUMNS: &[&str] = &["id", "kind", "state", "step", "progress", "started", "ended"];

pub(super) async fn list(session: &Session<'_>) -> Result<Report, CliError> {
    let answer = session.agent.call("operation_list", json!({})).await?;
    let Value::Array(all) = answer else { return Err(unreadable()) };
    let row = |one: &Value| {
        COLUMNS
            .iter()
            .map(|column| if *column == "progress" { progress(one) } else { one[*column].clone() })
            .collect()
    };
    Ok(Report::List { columns: COLUMNS, rows: all.iter().map(row).collect() })
}

pub(super) async fn show(session: &Session<'_>, id: &OperationId) -> Result<Report, CliError> {
    Ok(Report::Record(record(&details(session, id).await?)))
}

pub(super) async fn logs(session: &Session<'_>, id: &OperationId) -> Result<Report, CliError> {
    let details = details(session, id).await?;
    let rows = details["log"].as_array().cloned().unwrap_or_default();
    let row = |line: &Value| vec![line["at"].clone(), line["text"].clone()];
    Ok(Report::List { columns: &["at", "text"], rows: rows.iter().map(row).collect() })
}

/// Returns when the operation is finished; fails if the operation failed.
pub(super) async fn wait(session: &Session<'_>, args: &OperationWaitArgs) -> Result<Report, CliError> {
    let until = args.within.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut bar = OperationBar::new(session.output.is_table() && !session.output.is_quiet());
    loop {
        let details = details(session, &args.id).await?;
        if !details["ended"].is_null() {
            drop(bar);
            return ended(&args.id, &details);
        }
        let (done, total) = (details["progress"]["done"].as_u64(), details["progress"]["total"].as_u64());
        bar.at(done.zip(total), &stand(&details));
        if until.is_some_and(|until| Instant::now() >= until) {
            drop(bar);
            let message = format!("operation {} goes on ({})", args.id, stand(&details));
            return Err(CliError::new(Code::Timeout, message)
                .advise("wait again, without --within or with a longer one"));
        }
        time::sleep(LOOK).await;
    }
}

pub(super) async fn cancel(session: &Session<'_>, id: &OperationId) -> Result<Report, CliError> {
    session.consent.possible("cancel an operation")?;
    let details = details(session, id).await?;
    let question = format!(
        "Cancel operation {id} ({}: {})? It may have taken effect in part.",
        text(&details["kind"]),
        stand(&details)
    );
    session.consent.ask(&question)?;
    let answer = session.agent.call("operation_cancel", json!({"operation": id})).await?;
    let message = format!("Cancelling operation {id}; `operation-wait {id}` waits for its end.");
    Ok(Report::done(message, record(&answer)))
}

pub(super) async fn rehearse(
    session: &Session<'_>,
    args: &OperationRehearseArgs,
) -> Result<Report, CliError> {
    let answer = session.agent.call("operation_rehearse", json!({"seconds": args.seconds})).await?;
    let id = answer.as_str().ok_or_else(unreadable)?;
    Ok(Report::done(
        format!("Operation {id} has begun; `operation-wait {id}` waits for its end."),
        vec![("id", id.into())],
    ))
}

async fn details(session: &Session<'_>, id: &OperationId) -> Result<Value, CliError> {
    let answer = session.agent.call("operation_show", json!({"operation": id})).await?;
    if answer["id"].is_string() { Ok(answer) } else { Err(unreadable()) }
}

fn ended(id: &OperationId, details: &Value) -> Result<Report, CliError> {
    let state = text(&details["state"]);
    if state == "succeeded" {
        let message = format!("Operation {id} ({}) has succeeded.", text(&details["kind"]));
        return Ok(Report::done(message, record(details)));
    }
    let reason = details["reason"].as_str().unwrap_or("it gave no reason");
    let message = format!("operation {id} ({}) has ended as {state}: {reason}", text(&details["kind"]));
    Err(CliError::new(Code::Failed, message).advise(format!("`operation-logs {id}` shows its steps")))
}

fn record(details: &Value) -> Vec<(&'static str, Value)> {
    let keys = [
        "id",
        "kind",
        "state",
        "step",
        "progress",
        "reason",
        "started",
        "updated",
        "ended",
        "about",
        "resumed",
        "told",
        "request_id",
        "command_id",
        "user",
        "project",
    ];
    let there = |key: &&'static str| details.get(*key).is_some();
    let value = |key: &'static str| if key == "progress" { progress(details) } else { details[key].clone() };
    keys.into_iter().filter(there).map(|key| (key, value(key))).collect()
}

/// `3 of 10 users`
fn progress(details: &Value) -> Value {
    let progress = &details["progress"];
    match (progress["done"].as_u64(), progress["total"].as_u64()) {
        (Some(done), Some(total)) => format!("{done} of {total} {}", text(&progress["unit"])).into(),
        (Some(done), None) => format!("{done} {}", text(&progress["unit"])).into(),
        (None, _) => Value::Null,
    }
}

pub(super) fn stand(details: &Value) -> String {
    let step = details["step"].as_str().map_or_else(|| "not begun".to_owned(), |step| format!("step {step}"));
    match progress(details).as_str() {
        Some(progress) => format!("{step}, {progress}"),
        None => step,
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

fn unreadable() -> CliError {
    CliError::new(Code::Failed, "the agent's answer about operations can't be read")
        .advise("install the same version of trove-couchdb and of the agent")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn how_an_operation_stands_is_said_in_words() {
        let at = |progress: Value| stand(&json!({"step": "users", "progress": progress}));
        assert_eq!(at(json!({"done": 3, "total": 10, "unit": "users"})), "step users, 3 of 10 users");
        assert_eq!(at(json!({"done": 3, "total": null, "unit": "users"})), "step users, 3 users");
        assert_eq!(at(Value::Null), "step users");
        assert_eq!(stand(&json!({})), "not begun");
    }

    #[test]
    fn an_operation_that_failed_fails_the_command_with_its_reason() {
        let id = OperationId::of_bits(1);
        assert!(ended(&id, &json!({"state": "succeeded", "kind": "prepare"})).is_ok());
        let failed = json!({"state": "failed", "kind": "prepare", "reason": "no disk"});
        let error = ended(&id, &failed).unwrap_err();
        assert_eq!(
            (error.code, error.message.ends_with("has ended as failed: no disk")),
            (Code::Failed, true)
        );
    }
}
