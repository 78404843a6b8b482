//! The hosts that commands name: Trove can restrict a user to a host, CouchDB can't.

use tracing::warn;
use trove_couchdb_protocol::{HostPattern, trove::Command};

/// Warns, once for a command, that a host other than `%` is ignored.
pub(super) fn note(command: &Command) {
    if hosts(command).iter().any(|host| !host.is_any()) {
        warn!("CouchDB can't restrict a user to a host; the host of the command is ignored.");
    }
}

fn hosts(command: &Command) -> Vec<&HostPattern> {
    match command {
        Command::CreateUser { users } => users.iter().map(|user| &user.host).collect(),
        Command::Prepare(prepare) => prepare.users.iter().map(|user| &user.host).collect(),
        Command::ChangePasswords { users } => users.iter().map(|change| &change.host).collect(),
        Command::DeleteUser { host, .. }
        | Command::GetUser { host, .. }
        | Command::GrantAccess { host, .. }
        | Command::RevokeAccess { host, .. }
        | Command::ListAccess { host, .. } => vec![host],
        Command::UpdateAttributes { host, new_host, .. } => std::iter::once(host).chain(new_host).collect(),
        Command::Ping
        | Command::ListUsers(_)
        | Command::CreateDatabase { .. }
        | Command::DeleteDatabase { .. }
        | Command::ListDatabases(_)
        | Command::EnableRoot
        | Command::EnableRootWithPassword { .. }
        | Command::DisableRoot
        | Command::IsRootEnabled
        | Command::GetFilesystemStats { .. }
        | Command::GetAgentStatus
        | Command::CheckDatabases
        | Command::RotateOsAdmin
        | Command::SetLogFilter { .. }
        | Command::MalformedPrepare(_)
        | Command::StopDb
        | Command::Unsupported(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_command_that_names_a_host_is_looked_at() {
        let narrow = "10.0.0.%";
        for (method, args) in [
            ("create_user", json!({"users": [{"_name": "a", "_password": "p", "_host": narrow}]})),
            ("prepare", json!({"users": [{"_name": "a", "_password": "p", "_host": narrow}]})),
            ("delete_user", json!({"user": {"_name": "a", "_host": narrow}})),
            ("get_user", json!({"username": "a", "hostname": narrow})),
            ("change_passwords", json!({"users": [{"name": "a", "password": "p", "host": narrow}]})),
            ("update_attributes", json!({"username": "a", "hostname": narrow, "user_attrs": {}})),
            ("update_attributes", json!({"username": "a", "hostname": "%", "user_attrs": {"host": narrow}})),
            ("grant_access", json!({"username": "a", "hostname": narrow, "databases": ["d"]})),
            ("revoke_access", json!({"username": "a", "hostname": narrow, "database": "d"})),
            ("list_access", json!({"username": "a", "hostname": narrow})),
        ] {
            let Value::Object(args) = args else { unreachable!() };
            let command = Command::decode(method, &args).unwrap();
            assert!(hosts(&command).iter().any(|host| !host.is_any()), "{method}");
        }
    }
}
