//! `couchdb-config-show`, `couchdb-config-set`, `couchdb-config-unset`, `couchdb-config-apply`, `session-reset`:
//! CouchDB's configuration, through the agent.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use serde_json::{Map, Value, json};

use super::Session;
use crate::{
    args::{ConfigApplyArgs, ConfigSetArgs, ConfigShowArgs, ConfigUnsetArgs},
    exit::{CliError, Code},
    output::Report,
};

/// The agent takes no longer file.
const LONGEST: u64 = 256 * 1024;

pub(super) async fn show(session: &Session<'_>, args: &ConfigShowArgs) -> Result<Report, CliError> {
    let answer = session.agent.call("configuration_show", json!({"all": args.all})).await?;
    let Some(options) = answer["options"].as_array() else { return Err(unreadable()) };
    if let Some(missing) = answer["missing_nodes"].as_array().filter(|missing| !missing.is_empty()) {
        let names: Vec<_> = missing.iter().filter_map(Value::as_str).collect();
        session.output.note(&format!("Not connected, so not shown: {}", names.join(", ")));
    }
    let columns = &["option", "value", "state", "set_by"];
    let row = |option: &Value| columns.iter().map(|column| option[*column].clone()).collect();
    Ok(Report::List { columns, rows: options.iter().map(row).collect() })
}

pub(super) async fn set(session: &Session<'_>, args: &ConfigSetArgs) -> Result<Report, CliError> {
    let mut options = Map::new();
    for (option, value) in &args.options {
        if options.insert(option.clone(), value.as_str().into()).is_some() {
            return Err(CliError::usage(format!("option {option} is given twice")));
        }
    }
    report(&session.agent.call("configuration_set", json!({ "options": options })).await?)
}

pub(super) async fn unset(session: &Session<'_>, args: &ConfigUnsetArgs) -> Result<Report, CliError> {
    report(&session.agent.call("configuration_unset", json!({"options": args.options})).await?)
}

pub(super) async fn apply(session: &Session<'_>, args: &ConfigApplyArgs) -> Result<Report, CliError> {
    let contents = read(&args.file).map_err(|error| {
        CliError::usage(format!("the configuration {} can't be read: {error}", args.file.display()))
    })?;
    report(&session.agent.call("configuration_apply", json!({ "contents": contents })).await?)
}

pub(super) async fn reset_sessions(session: &Session<'_>) -> Result<Report, CliError> {
    session.consent.possible("ending all sessions")?;
    session.consent.ask("End all sessions of all users?")?;
    let answer = session.agent.call("session_reset", json!({})).await?;
    Ok(Report::done("All sessions have ended.", vec![("nodes", answer["nodes"].clone())]))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().lock().take(LONGEST + 1).read_to_string(&mut text)?;
    } else {
        fs::File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    }
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other("it is longer than 256 KiB"));
    }
    Ok(text)
}

/// What a change did.
fn report(answer: &Value) -> Result<Report, CliError> {
    let (Some(changed), Some(waiting)) = (names(&answer["changed"]), names(&answer["pending_restart"]))
    else {
        return Err(unreadable());
    };
    let mut message = match changed.as_slice() {
        [] => "Nothing had to be changed.".to_owned(),
        changed => format!("Changed: {}.", changed.join(", ")),
    };
    if !waiting.is_empty() {
        message += &format!(" In effect after a restart of CouchDB: {}.", waiting.join(", "));
    }
    let record =
        vec![("changed", answer["changed"].clone()), ("pending_restart", answer["pending_restart"].clone())];
    Ok(Report::done(message, record))
}

fn names(list: &Value) -> Option<Vec<&str>> {
    list.as_array()?.iter().map(Value::as_str).collect()
}

fn unreadable() -> CliError {
    CliError::new(Code::Failed, "the agent's answer about the configuration can't be read")
        .advise("install the same version of trove-couchdb and of the agent")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_change_says_what_waits_for_a_restart() {
        let text = |answer: Value| match report(&answer).unwrap() {
            Report::Done { message, .. } => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(text(json!({"changed": [], "pending_restart": []})), "Nothing had to be changed.");
        assert_eq!(
            text(json!({"changed": ["a.b", "c.d"], "pending_restart": ["c.d"]})),
            "Changed: a.b, c.d. In effect after a restart of CouchDB: c.d."
        );
        assert!(report(&json!(null)).is_err());
    }
}
