//! The names of what a command changes, for logs and records.

use std::ops::Not;

use serde::{Deserialize, Serialize};
use trove_couchdb_protocol::{DatabaseName, UserName};

use super::{super::Command, Scope, Scopes};

/// Represents all of a kind.
const ALL: &str = "*";

/// The server administrator that Trove's root commands enable and disable.
const ROOT: &str = "root";

/// The agent's own account.
const OS_ADMIN: &str = "os_admin";

/// The users and databases that a command changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// User names, including `root`; `*` for all.
    pub users: Vec<String>,
    /// Database names; `*` for all.
    pub databases: Vec<String>,
    /// Whether CouchDB's process is started or stopped.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub server: bool,
    /// Whether the volume of CouchDB's data is mounted, unmounted or grown.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub volume: bool,
    /// Whether CouchDB's configuration is changed.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub configuration: bool,
}

impl Changes {
    /// `None` for a command that only reads. Derived from the same scopes as the order of commands.
    pub fn of(command: &dyn Command) -> Option<Self> {
        Self::written(command, |name| name.as_str().to_owned(), |name| name.as_str().to_owned())
    }

    /// The same with names in the form that may be shown: only a command that succeeded proves that its names
    /// exist.
    pub fn as_shown(command: &dyn Command) -> Option<Self> {
        Self::written(command, UserName::to_string, DatabaseName::to_string)
    }

    fn written(
        command: &dyn Command,
        user: impl Fn(&UserName) -> String,
        database: impl Fn(&DatabaseName) -> String,
    ) -> Option<Self> {
        let scopes = command.scopes();
        let mut changes = Self::default();
        for scope in scopes.writes() {
            match scope {
                Scope::User(name) => changes.users.push(user(name)),
                Scope::AllUsers => changes.users.push(ALL.to_owned()),
                Scope::Root => changes.users.push(ROOT.to_owned()),
                Scope::OsAdmin => changes.users.push(OS_ADMIN.to_owned()),
                Scope::Database(name) => changes.databases.push(database(name)),
                Scope::AllDatabases => changes.databases.push(ALL.to_owned()),
                Scope::Server => changes.server = true,
                Scope::Volume => changes.volume = true,
                Scope::Configuration => changes.configuration = true,
            }
        }
        // A method that the agent refuses has no scopes, but it would change something.
        let would_change = !scopes.only_reads() || !command.method().only_reads();
        would_change.then_some(changes)
    }

    /// What a command writes, derived from stored names. An invalid name counts as all of its kind.
    pub fn scopes(&self) -> Scopes {
        let users = self.users.iter().map(|name| match name.as_str() {
            ALL => Scope::AllUsers,
            ROOT => Scope::Root,
            OS_ADMIN => Scope::OsAdmin,
            name => UserName::try_from(name).map_or(Scope::AllUsers, Scope::User),
        });
        let databases = self.databases.iter().map(|name| DatabaseName::try_from(name.as_str()));
        let databases = databases.map(|name| name.map_or(Scope::AllDatabases, Scope::Database));
        let others = [
            self.server.then_some(Scope::Server),
            self.volume.then_some(Scope::Volume),
            self.configuration.then_some(Scope::Configuration),
        ];
        Scopes::writing(users.chain(databases).chain(others.into_iter().flatten()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};
    use trove_couchdb_protocol::trove::Method;

    use super::*;
    use crate::commands::tests::decoded;

    fn changes(method: &str, args: &Value) -> Option<Changes> {
        Changes::of(&*decoded(method, args))
    }

    fn of(users: &[&str], databases: &[&str]) -> Changes {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Changes { users: owned(users), databases: owned(databases), ..Changes::default() }
    }

    #[test]
    fn what_is_changed_is_named_and_no_password_is() {
        let user =
            json!({"users": [{"_name": "al", "_password": "hunter2", "_databases": [{"_name": "a"}]}]});
        assert_eq!(changes("create_user", &user), Some(of(&["al"], &["a"])));
        let rename =
            json!({"username": "al", "hostname": "%", "user_attrs": {"name": "zoe", "password": "hunter2"}});
        assert_eq!(changes("update_attributes", &rename), Some(of(&["al", "zoe"], &[])));
        assert_eq!(
            changes("enable_root_with_password", &json!({"root_password": "hunter2"})),
            Some(of(&["root"], &[]))
        );
        assert_eq!(changes("delete_database", &json!({"database": {"_name": "a"}})), Some(of(&[], &["a"])));
        assert_eq!(changes("reset_configuration", &json!({})), Some(of(&[], &[])));
        assert_eq!(changes("service_stop", &json!({})), Some(Changes { server: true, ..of(&[], &[]) }));
        let volume = Changes { server: true, volume: true, ..of(&[], &[]) };
        assert_eq!(changes("unmount_volume", &json!({})), Some(volume));
        assert_eq!(changes("list_users", &json!({})), None);
        assert_eq!(changes("get_diagnostics", &json!({})), None);
    }

    #[test]
    fn the_names_stand_for_what_the_command_writes() {
        let written = |method: &str, args: Value| {
            let command = decoded(method, &args);
            let kept: Changes = serde_json::from_value(json!(Changes::of(&*command).unwrap())).unwrap();
            (kept.scopes(), command.scopes())
        };
        for (method, args) in [
            ("delete_database", json!({"database": {"_name": "a"}})),
            ("grant_access", json!({"username": "al", "hostname": "%", "databases": ["a", "b"]})),
            ("enable_root", json!({})),
            ("prepare", json!({})),
            ("service_restart", json!({})),
            ("resize_fs", json!({})),
            ("session_reset", json!({})),
        ] {
            let (kept, command) = written(method, args);
            assert_eq!(kept, command, "{method}");
        }
    }

    /// Two tables say which methods only read: the table of names, for messages that cannot be decoded, and
    /// the scopes.
    #[test]
    fn the_two_tables_agree() {
        let args = json!({
            "users": [{"_name": "a", "name": "a", "_password": "p", "password": "p"}], "databases": [{"_name": "d"}],
            "database": "d", "user": {"_name": "a"}, "username": "a", "hostname": "%", "user_attrs": {"name": "b"},
            "state": "running", "operation": "00000000-0000-8000-8000-000000000000", "contents": "",
            "options": {},
        });
        // The only method whose users are plain names.
        let names = json!({"users": ["a"]});
        let options = json!({"options": []});
        for method in Method::ALL {
            let args = match method {
                Method::GetUserDetails => &names,
                Method::ConfigurationUnset => &options,
                _ => &args,
            };
            assert_eq!(changes(method.name(), args).is_none(), method.only_reads(), "{}", method.name());
        }
    }
}
