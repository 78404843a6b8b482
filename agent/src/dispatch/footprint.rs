//! What a command reads and writes, so that commands on the same thing keep their order of arrival.

use trove_couchdb_protocol::{DatabaseName, UserName, trove::Command};

/// Something that a command reads or writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// One user: its document and its memberships.
    User(UserName),
    /// Every user.
    AllUsers,
    /// One database, with its `_security`.
    Database(DatabaseName),
    /// Every database.
    AllDatabases,
    /// The server administrator `root`.
    Root,
    /// The agent's own account.
    OsAdmin,
}

impl Scope {
    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AllUsers, Self::User(_))
            | (Self::User(_), Self::AllUsers)
            | (Self::AllDatabases, Self::Database(_))
            | (Self::Database(_), Self::AllDatabases) => true,
            (left, right) => left == right,
        }
    }
}

/// All that one command reads and writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Footprint {
    reads: Vec<Scope>,
    writes: Vec<Scope>,
}

impl Footprint {
    /// Whether two commands must keep their order: one writes what the other reads or writes.
    pub(super) fn conflicts_with(&self, other: &Self) -> bool {
        let writes_into = |writer: &Self, scopes: &[Scope]| {
            writer.writes.iter().any(|write| scopes.iter().any(|scope| write.overlaps(scope)))
        };
        writes_into(self, &other.writes) || writes_into(self, &other.reads) || writes_into(other, &self.reads)
    }

    /// Whether nothing is changed.
    pub(super) fn only_reads(&self) -> bool {
        self.writes.is_empty()
    }

    /// What is changed.
    pub(super) fn writes(&self) -> &[Scope] {
        &self.writes
    }

    /// The footprint of a command.
    ///
    /// What a user may use stands in the databases, so reading one user's access reads every database, and a
    /// change of membership writes the user and the database.
    pub(super) fn of(command: &Command) -> Self {
        let user = |name: &UserName| Scope::User(name.clone());
        let database = |name: &DatabaseName| Scope::Database(name.clone());
        match command {
            Command::Ping
            | Command::GetFilesystemStats { .. }
            | Command::GetAgentStatus
            | Command::SetLogFilter { .. }
            | Command::StopDb
            | Command::Unsupported(_) => Self::default(),
            Command::Prepare(_) | Command::MalformedPrepare(_) => {
                Self::writing([Scope::AllUsers, Scope::AllDatabases, Scope::Root])
            }
            Command::CreateUser { users } => {
                let names = users.iter().map(|new| user(&new.name));
                let granted = users.iter().flat_map(|new| new.databases.iter().map(database));
                Self::writing(names.chain(granted))
            }
            Command::DeleteUser { user: name, .. } => Self::writing([user(name)]),
            Command::ChangePasswords { users } => {
                Self::writing(users.iter().map(|change| user(&change.user)))
            }
            Command::UpdateAttributes { user: name, rename, .. } => {
                Self::writing([user(name)].into_iter().chain(rename.iter().map(user)))
            }
            Command::GrantAccess { user: name, databases, .. } => {
                Self::writing([user(name)].into_iter().chain(databases.iter().map(database)))
            }
            Command::RevokeAccess { user: name, database: from, .. } => {
                Self::writing([user(name), database(from)])
            }
            Command::CreateDatabase { databases } => Self::writing(databases.iter().map(database)),
            Command::DeleteDatabase { database: name } => Self::writing([database(name)]),
            // A password of root that the agent makes up is derived from os_admin's.
            Command::RotateOsAdmin => Self::writing([Scope::OsAdmin, Scope::Root]),
            Command::EnableRoot | Command::EnableRootWithPassword { .. } | Command::DisableRoot => {
                Self::writing([Scope::Root])
            }
            Command::GetUser { user: name, .. } | Command::ListAccess { user: name, .. } => {
                Self::reading([user(name), Scope::AllDatabases])
            }
            Command::ListUsers(_) => Self::reading([Scope::AllUsers, Scope::AllDatabases]),
            Command::ListDatabases(_) | Command::CheckDatabases => Self::reading([Scope::AllDatabases]),
            Command::IsRootEnabled => Self::reading([Scope::Root]),
        }
    }

    fn writing(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self { reads: Vec::new(), writes: scopes.into_iter().collect() }
    }

    fn reading(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self { reads: scopes.into_iter().collect(), writes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn footprint(method: &str, args: Value) -> Footprint {
        let Value::Object(args) = args else { unreachable!() };
        Footprint::of(&Command::decode(method, &args).unwrap())
    }

    fn grant(user: &str, database: &str) -> Footprint {
        footprint("grant_access", json!({"username": user, "hostname": "%", "databases": [database]}))
    }

    #[test]
    fn the_same_user_or_database_keeps_its_order() {
        let delete = footprint("delete_user", json!({"user": {"_name": "al"}}));
        assert!(grant("al", "a").conflicts_with(&delete));
        assert!(grant("al", "a").conflicts_with(&grant("bo", "a")));
        assert!(grant("al", "a").conflicts_with(&grant("al", "b")));
        assert!(!grant("al", "a").conflicts_with(&grant("bo", "b")));
        assert!(!grant("bo", "a").conflicts_with(&delete));
    }

    #[test]
    fn a_read_waits_for_what_it_would_show() {
        let users = footprint("list_users", json!({"limit": 20, "marker": null, "include_marker": false}));
        let al = footprint("get_user", json!({"username": "al", "hostname": "%"}));
        let create = footprint("create_user", json!({"users": [{"_name": "al", "_password": "x"}]}));
        let database = footprint("create_database", json!({"databases": [{"_name": "a"}]}));
        for read in [&users, &al] {
            assert!(read.conflicts_with(&create) && create.conflicts_with(read));
            assert!(read.conflicts_with(&grant("al", "a")));
            assert!(read.conflicts_with(&database));
        }
        assert!(!users.conflicts_with(&al), "reads run side by side");
        let ping = footprint("rpc_ping", json!({}));
        assert!(!ping.conflicts_with(&create));
    }

    #[test]
    fn everything_waits_until_the_guest_is_prepared() {
        let prepare = footprint("prepare", json!({}));
        let root = footprint("enable_root", json!({}));
        for other in [&prepare, &root, &grant("al", "a"), &footprint("list_databases", json!({}))] {
            assert!(prepare.conflicts_with(other));
        }
        assert!(!prepare.conflicts_with(&footprint("rpc_ping", json!({}))));
    }

    #[test]
    fn a_rename_holds_both_names() {
        let rename = footprint(
            "update_attributes",
            json!({"username": "al", "hostname": "%", "user_attrs": {"name": "zoe"}}),
        );
        for name in ["al", "zoe"] {
            let delete = footprint("delete_user", json!({"user": {"_name": name}}));
            assert!(rename.conflicts_with(&delete), "{name}");
        }
    }
}
