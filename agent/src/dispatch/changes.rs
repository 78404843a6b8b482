//! What a command changes, by name: for whoever writes it down.

use trove_couchdb_protocol::trove::Command;

use super::footprint::{Footprint, Scope};

/// Stands for all of a kind.
const ALL: &str = "*";

/// The server administrator that Trove's root commands switch on and off.
const ROOT: &str = "root";

/// The agent's own account.
const OS_ADMIN: &str = "os_admin";

/// Users and databases that a command changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Names of users, `root` among them; `*` for all.
    pub users: Vec<String>,
    /// Names of databases; `*` for all.
    pub databases: Vec<String>,
}

impl Changes {
    /// `None` for a command that only reads. Made of the same footprint as the order of commands.
    pub fn of(command: &Command) -> Option<Self> {
        let footprint = Footprint::of(command);
        let mut changes = Self::default();
        for scope in footprint.writes() {
            match scope {
                Scope::User(name) => changes.users.push(name.as_str().to_owned()),
                Scope::AllUsers => changes.users.push(ALL.to_owned()),
                Scope::Root => changes.users.push(ROOT.to_owned()),
                Scope::OsAdmin => changes.users.push(OS_ADMIN.to_owned()),
                Scope::Database(name) => changes.databases.push(name.as_str().to_owned()),
                Scope::AllDatabases => changes.databases.push(ALL.to_owned()),
            }
        }
        // A method that this agent refuses has no footprint and would still be a change.
        let would_change = !footprint.only_reads() || !command.method().only_reads();
        would_change.then_some(changes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};
    use trove_couchdb_protocol::trove::Method;

    use super::*;

    fn changes(method: &str, args: &Value) -> Option<Changes> {
        Changes::of(&Command::decode(method, args.as_object().unwrap()).unwrap())
    }

    fn of(users: &[&str], databases: &[&str]) -> Changes {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Changes { users: owned(users), databases: owned(databases) }
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
        assert_eq!(changes("list_users", &json!({})), None);
        assert_eq!(changes("get_diagnostics", &json!({})), None);
    }

    /// Two tables say which methods only read: that of names, for messages that can't be decoded, and the footprints.
    #[test]
    fn the_two_tables_agree() {
        let args = json!({
            "users": [{"_name": "a", "name": "a", "_password": "p", "password": "p"}], "databases": [{"_name": "d"}],
            "database": "d", "user": {"_name": "a"}, "username": "a", "hostname": "%", "user_attrs": {"name": "b"},
        });
        for method in Method::ALL {
            assert_eq!(changes(method.name(), &args).is_none(), method.only_reads(), "{}", method.name());
        }
    }
}
