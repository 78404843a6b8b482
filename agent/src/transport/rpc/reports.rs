//! Reports to the conductor those failures that Trove itself would not show, or that would leave an instance
//! waiting.
//!
//! | method | what Trove does when it fails | what the agent reports |
//! |---|---|---|
//! | `create_backup` | nothing: the backup stays NEW, its instance BACKUP | first, that the backup failed |
//! | `restart`, `pre_upgrade` | logs it, and shows no reason | the instance's fault, even for a call |
//! | `rebuild` | nothing, and its context has no notification | the instance's fault, as of an upgrade |
//! | `prepare` | writes "Service not active" over the fault | the fault again, a few times |
//!
//! Source: Trove 12 to 26 (`trove/taskmanager/models.py`, `trove/instance/models.py`).

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use trove_couchdb_protocol::{
    Context, Request,
    trove::{ConductorCast, Method},
};

/// What an answer needs to know of its request.
#[derive(Debug, Default)]
pub(super) struct Reports {
    method: Option<Method>,
    /// The backup to be created.
    backup_id: Option<String>,
}

impl Reports {
    /// For a request with this method whose arguments could not be read.
    pub(super) fn of_method(method: Option<Method>) -> Self {
        Self { method, backup_id: None }
    }

    /// For a request that could be read.
    pub(super) fn of(request: &Request) -> Self {
        let method = Method::from_name(&request.method);
        // A different value in its place, such as a password, must not be passed on.
        let id = || {
            request.args.get("backup_info")?.get("id")?.as_str().filter(|id| is_uuid(id)).map(str::to_owned)
        };
        let backup_id = if method == Some(Method::CreateBackup) { id() } else { None };
        Self { method, backup_id }
    }

    /// Reports that the backup has failed. Until then its instance refuses every action.
    pub(super) fn failed_backup(&self) -> Option<ConductorCast> {
        let backup_id = self.backup_id.clone()?;
        let sent = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let changes = Map::from_iter([("state".to_owned(), "FAILED".into())]);
        Some(ConductorCast::UpdateBackup { backup_id, sent, changes })
    }

    /// Whether only the agent reports the failure of a call to the user.
    pub(super) fn tells_of_calls(&self) -> bool {
        matches!(self.method, Some(Method::Restart | Method::PreUpgrade))
    }

    /// Whether Trove may overwrite the fault.
    pub(super) fn tells_again(&self) -> bool {
        self.method == Some(Method::Prepare)
    }

    /// The context for reporting a failure. Trove's own is sufficient, except for `rebuild`: it has no
    /// notification, and without one no fault can be stored. The notification of an upgrade is the most
    /// similar one that all versions have.
    pub(super) fn context(&self, context: Context) -> Context {
        if self.method != Some(Method::Rebuild) || context.notification().is_some() {
            return context;
        }
        let notification = json!({
            "notification_classname": "trove.common.notification.DBaaSInstanceUpgrade",
            "request_id": context.request_id(),
            "tenant_id": context.project_id(),
            "client_ip": "",
            "server_ip": "",
            "server_type": "guest",
        });
        let mut entries: Map<String, Value> = context.entries().clone();
        entries.insert("trove_notification".to_owned(), notification);
        Context::new(entries)
    }
}
/// The format of Trove's backup ids (trove/common/utils.py, `generate_uuid`).
fn is_uuid(text: &str) -> bool {
    let of_hex =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| of_hex(part, length))
}
