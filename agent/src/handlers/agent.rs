//! The agent's own methods, for its operators: `get_agent_status`, `check_databases`, `rotate_os_admin`,
//! `set_log_filter`.

use serde_json::{Value, json};
use tracing::info;
use trove_couchdb_protocol::trove::LogFilter;

use crate::{
    bootstrap::{RotationError, Rotator},
    couch::{CommandError, Couch},
    log,
    status::Report,
};

pub(super) async fn status(couch: &Couch, report: &Report) -> Value {
    report.now(couch.known_version().map(|version| version.to_string())).await
}

pub(super) async fn check_databases(couch: &Couch) -> Result<Value, CommandError> {
    let found = couch.check_databases().await?;
    Ok(json!({"checked": found.checked, "public": found.public, "malformed": found.malformed}))
}

/// Doing it again after a crash is harmless: it is one password more.
pub(super) async fn rotate_os_admin(rotator: &Rotator) -> Result<Value, RotationError> {
    rotator.rotate().await?;
    Ok(Value::Null)
}

/// Until the next start, or until the configuration is read again.
pub(super) fn set_log_filter(log: &log::Control, filter: Option<&LogFilter>) -> Value {
    let filter = log.set(filter);
    info!(filter = filter.as_str(), "What is logged has changed.");
    json!({"filter": filter.as_str()})
}
