//! `enable_root`, `enable_root_with_password`, `disable_root`, `is_root_enabled`.

use serde_json::Value;
use trove_couchdb_protocol::{Secret, trove::root_user};

use super::Run;
use crate::couch::{CommandError, Couch};

/// Answers with the password that now holds.
///
/// A generated one is derived from the command's id: if the agent dies after the answer left and before the
/// acknowledgement did, the second run must not replace the password that the user has been shown.
pub(super) async fn enable(
    couch: &Couch,
    password: Option<&Secret>,
    run: Run<'_>,
) -> Result<Value, CommandError> {
    let password = match password {
        Some(given) => given.clone(),
        None => couch.password_for(run.id)?,
    };
    couch.enable_root(&password).await?;
    Ok(root_user(&password))
}

pub(super) async fn disable(couch: &Couch) -> Result<Value, CommandError> {
    couch.disable_root().await?;
    Ok(Value::Null)
}

pub(super) async fn is_enabled(couch: &Couch) -> Result<Value, CommandError> {
    couch.is_root_enabled().await.map(Value::Bool)
}
