//! What a command reads and writes. Commands with conflicting scopes run in order of arrival.
//!
//! A command may name thousands of users and databases, and each new command is compared with all waiting
//! commands on an async thread. So scopes are kept in ordered sets, which are compared in one pass over both.

mod changes;

use std::{cmp::Ordering, collections::BTreeSet};

use trove_couchdb_protocol::{DatabaseName, UserName};

pub use changes::Changes;

/// Something that a command reads or writes.
#[derive(Debug, Clone)]
pub enum Scope {
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
    /// CouchDB's process.
    Server,
    /// The volume of CouchDB's data.
    Volume,
    /// CouchDB's configuration.
    Configuration,
}

impl Scope {
    pub(super) fn user(name: &UserName) -> Self {
        Self::User(name.clone())
    }

    pub(super) fn database(name: &DatabaseName) -> Self {
        Self::Database(name.clone())
    }

    /// A kind and a name. The name is empty if the kind has only one member.
    fn key(&self) -> (u8, &str) {
        match self {
            Self::User(name) => (0, name.as_str()),
            Self::AllUsers => (1, ""),
            Self::Database(name) => (2, name.as_str()),
            Self::AllDatabases => (3, ""),
            Self::Root => (4, ""),
            Self::OsAdmin => (5, ""),
            Self::Server => (6, ""),
            Self::Volume => (7, ""),
            Self::Configuration => (8, ""),
        }
    }
}

impl Ord for Scope {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        tests::COMPARISONS.set(tests::COMPARISONS.get() + 1);
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Scope {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scope {}

/// Everything that one command reads and writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes {
    reads: BTreeSet<Scope>,
    writes: BTreeSet<Scope>,
}

impl Scopes {
    /// Whether two commands must run in order: one writes what the other reads or writes.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        overlap(&self.writes, &other.writes)
            || overlap(&self.writes, &other.reads)
            || overlap(&other.writes, &self.reads)
    }

    /// Whether the command changes nothing.
    pub fn only_reads(&self) -> bool {
        self.writes.is_empty()
    }

    /// What the command changes.
    pub fn writes(&self) -> impl Iterator<Item = &Scope> {
        self.writes.iter()
    }

    /// Scopes that write exactly these.
    pub fn writing(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self { reads: BTreeSet::new(), writes: scopes.into_iter().collect() }
    }

    /// The same, and these in addition.
    #[must_use]
    pub(super) fn and_writing(mut self, scopes: impl IntoIterator<Item = Scope>) -> Self {
        self.writes.extend(scopes);
        self
    }

    /// Scopes that read exactly these and change nothing.
    pub fn reading(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self { reads: scopes.into_iter().collect(), writes: BTreeSet::new() }
    }

    /// The scopes of a command that shows a user's access. Access is stored in the databases, so it reads all
    /// of them.
    pub(super) fn of_access(user: &UserName) -> Self {
        Self::reading([Scope::user(user), Scope::AllDatabases])
    }
}

/// Whether two sets of scopes overlap.
fn overlap(left: &BTreeSet<Scope>, right: &BTreeSet<Scope>) -> bool {
    let is_user = |scope: &Scope| matches!(scope, Scope::User(_));
    let is_database = |scope: &Scope| matches!(scope, Scope::Database(_));
    let all_of_some = |all: &BTreeSet<Scope>, some: &BTreeSet<Scope>| {
        (all.contains(&Scope::AllUsers) && some.iter().any(is_user))
            || (all.contains(&Scope::AllDatabases) && some.iter().any(is_database))
    };
    !left.is_disjoint(right) || all_of_some(left, right) || all_of_some(right, left)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value)] // `json!(…)` as an argument reads best without a borrow

    use std::cell::Cell;

    use serde_json::{Value, json};

    use super::*;
    use crate::commands::tests::decoded;

    thread_local! {
        /// The number of scope comparisons on this thread.
        pub(super) static COMPARISONS: Cell<usize> = const { Cell::new(0) };
    }

    fn scopes(method: &str, args: Value) -> Scopes {
        decoded(method, &args).scopes()
    }

    fn grant(user: &str, database: &str) -> Scopes {
        scopes("grant_access", json!({"username": user, "hostname": "%", "databases": [database]}))
    }

    #[test]
    fn the_same_user_or_database_keeps_its_order() {
        let delete = scopes("delete_user", json!({"user": {"_name": "al"}}));
        assert!(grant("al", "a").conflicts_with(&delete));
        assert!(grant("al", "a").conflicts_with(&grant("bo", "a")));
        assert!(grant("al", "a").conflicts_with(&grant("al", "b")));
        assert!(!grant("al", "a").conflicts_with(&grant("bo", "b")));
        assert!(!grant("bo", "a").conflicts_with(&delete));
    }

    #[test]
    fn a_read_waits_for_what_it_would_show() {
        let users = scopes("list_users", json!({"limit": 20, "marker": null, "include_marker": false}));
        let al = scopes("get_user", json!({"username": "al", "hostname": "%"}));
        let create = scopes("create_user", json!({"users": [{"_name": "al", "_password": "x"}]}));
        let database = scopes("create_database", json!({"databases": [{"_name": "a"}]}));
        for read in [&users, &al] {
            assert!(read.conflicts_with(&create) && create.conflicts_with(read));
            assert!(read.conflicts_with(&grant("al", "a")));
            assert!(read.conflicts_with(&database));
        }
        assert!(!users.conflicts_with(&al), "reads run side by side");
        let ping = scopes("rpc_ping", json!({}));
        assert!(!ping.conflicts_with(&create));
    }

    #[test]
    fn everything_waits_until_the_guest_is_prepared() {
        let prepare = scopes("prepare", json!({}));
        let root = scopes("enable_root", json!({}));
        for other in [&prepare, &root, &grant("al", "a"), &scopes("list_databases", json!({}))] {
            assert!(prepare.conflicts_with(other));
        }
        assert!(!prepare.conflicts_with(&scopes("rpc_ping", json!({}))));
    }

    #[test]
    fn a_rename_holds_both_names() {
        let rename = scopes(
            "update_attributes",
            json!({"username": "al", "hostname": "%", "user_attrs": {"name": "zoe"}}),
        );
        for name in ["al", "zoe"] {
            let delete = scopes("delete_user", json!({"user": {"_name": name}}));
            assert!(rename.conflicts_with(&delete), "{name}");
        }
    }

    /// Mutation: each-scope-with-each (docs/guarantees.md).
    #[test]
    fn large_commands_are_compared_in_one_pass() {
        const NAMES: usize = 10_000;
        let create = |prefix: &str| {
            let users = (0..NAMES).map(|n| json!({"_name": format!("{prefix}{n}"), "_password": "x"}));
            scopes("create_user", json!({"users": users.collect::<Vec<_>>()}))
        };
        let (some, others) = (create("a"), create("b"));
        // The names of both sets alternate in their order, so that the comparison cannot stop early.
        let mixed: Vec<Value> =
            (0..NAMES).map(|n| json!({"_name": format!("a{n}x"), "_password": "x"})).collect();
        let mixed = scopes("create_user", json!({"users": mixed}));
        for other in [&others, &mixed] {
            COMPARISONS.set(0);
            assert!(!some.conflicts_with(other));
            let comparisons = COMPARISONS.get();
            assert!((1..=4 * NAMES).contains(&comparisons), "{comparisons} for {NAMES} names");
        }
        assert!(some.conflicts_with(&some.clone()));
    }
}
