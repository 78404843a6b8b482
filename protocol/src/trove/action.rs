//! The user's action that a command belongs to, for commands whose answer depends on it.
//!
//! Trove sends the same `stop_db` before it deletes, reboots or resizes a server. The notification in the
//! context contains the class name of the action (`trove/common/notification.py`, unchanged from 12 to 26).

use serde_json::Value;

use crate::context::Context;

/// The user's action in Trove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserAction {
    /// Change the flavor.
    Resize,
    /// Move to a different host.
    Migrate,
    /// Reboot the server.
    Reboot,
    /// Any other or an unknown action.
    #[default]
    Other,
}

impl UserAction {
    /// The action named in a request's context.
    pub fn of(context: &Context) -> Self {
        let class = context.notification().and_then(|entries| entries.get("notification_classname"));
        match class.and_then(Value::as_str).and_then(|path| path.rsplit('.').next()) {
            Some("DBaaSInstanceResizeInstance") => Self::Resize,
            Some("DBaaSInstanceMigrate") => Self::Migrate,
            Some("DBaaSInstanceReboot") => Self::Reboot,
            _ => Self::Other,
        }
    }

    /// Whether the server restarts after `stop_db`. If `stop_db` fails, Trove leaves the instance in a
    /// transient state permanently (`trove/taskmanager/models.py`, `ResizeActionBase.execute`, 14 to 26).
    pub fn depends_on_stop_db(self) -> bool {
        matches!(self, Self::Resize | Self::Migrate)
    }

    /// Whether the server has just rebooted when `restart` arrives. Then the database only has to be running.
    pub fn restarts_the_server(self) -> bool {
        self != Self::Other
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![allow(clippy::needless_pass_by_value)] // `json!(…)` as an argument reads best without a borrow

    use serde_json::json;

    use super::*;

    fn action(notification: Value) -> UserAction {
        let entries = json!({ "trove_notification": notification });
        UserAction::of(&Context::new(serde_json::from_value(entries).unwrap()))
    }

    #[test]
    fn the_class_of_the_notification_names_the_action() {
        let of_class = |class: &str| {
            action(json!({ "notification_classname": format!("trove.common.notification.{class}") }))
        };
        assert_eq!(of_class("DBaaSInstanceResizeInstance"), UserAction::Resize);
        assert_eq!(of_class("DBaaSInstanceMigrate"), UserAction::Migrate);
        assert_eq!(of_class("DBaaSInstanceReboot"), UserAction::Reboot);
        for other in ["DBaaSInstanceRestart", "DBaaSInstanceResizeVolume", "DBaaSInstanceDelete"] {
            assert_eq!(of_class(other), UserAction::Other, "{other}");
        }
        assert_eq!(action(json!({"notification_classname": 5})), UserAction::Other);
        assert_eq!(action(Value::Null), UserAction::Other);
        assert_eq!(UserAction::of(&Context::default()), UserAction::Other);
    }
}
