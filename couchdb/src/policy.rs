//! The accounts and databases that callers may name.
//!
//! `os_admin`, `root`, the configured `ignore_users`, databases that begin with `_` and the configured
//! `ignore_dbs` are neither shown nor changed. The functions that change CouchDB take [`TenantUser`] and
//! [`TenantDatabase`], and only this module creates those.

use std::{collections::HashSet, ops::Deref};

use trove_couchdb_protocol::{DatabaseName, UserName};

use crate::{command_error::CommandError, path::segment::ServerAdmin};

/// The names that are hidden from callers.
#[derive(Debug, Clone)]
pub struct Policy {
    users: HashSet<String>,
    databases: HashSet<String>,
}

/// A user that callers may see and change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantUser(UserName);

/// A database that callers may see and change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantDatabase(DatabaseName);

impl Policy {
    /// Hides these names in addition to the accounts and databases that are always hidden.
    pub fn new(ignore_users: &[String], ignore_dbs: &[String]) -> Self {
        let always = [ServerAdmin::OsAdmin, ServerAdmin::Root].map(|admin| admin.as_str().to_owned());
        Self {
            users: ignore_users.iter().cloned().chain(always).collect(),
            databases: ignore_dbs.iter().cloned().collect(),
        }
    }

    /// Checks that a user name is not reserved.
    pub fn user(&self, name: UserName) -> Result<TenantUser, CommandError> {
        if self.hides_user(name.as_str()) {
            return Err(CommandError::ReservedUser(name));
        }
        Ok(TenantUser(name))
    }

    /// Checks that a database name is not reserved.
    pub fn database(&self, name: DatabaseName) -> Result<TenantDatabase, CommandError> {
        if self.hides_database(name.as_str()) {
            return Err(CommandError::ReservedDatabase(name));
        }
        Ok(TenantDatabase(name))
    }

    /// Checks several database names and removes duplicates.
    pub fn databases(&self, names: Vec<DatabaseName>) -> Result<Vec<TenantDatabase>, CommandError> {
        let mut seen = HashSet::new();
        names.into_iter().filter(|name| seen.insert(name.clone())).map(|name| self.database(name)).collect()
    }

    pub(crate) fn hides_user(&self, name: &str) -> bool {
        self.users.contains(name)
    }

    pub(crate) fn hides_database(&self, name: &str) -> bool {
        name.starts_with('_') || self.databases.contains(name)
    }
}

impl Deref for TenantUser {
    type Target = UserName;

    fn deref(&self) -> &UserName {
        &self.0
    }
}

impl Deref for TenantDatabase {
    type Target = DatabaseName;

    fn deref(&self) -> &DatabaseName {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Mutation: own-accounts-not-reserved (docs/guarantees.md).
    #[test]
    fn the_agents_own_accounts_are_reserved_whatever_is_configured() {
        let policy = Policy::new(&["backup".into()], &["internal".into()]);
        for name in ["os_admin", "root", "backup"] {
            assert!(policy.user(name.parse().unwrap()).is_err(), "{name}");
        }
        assert!(policy.user("Root".parse().unwrap()).is_ok(), "CouchDB's names are case-sensitive");
        assert!(policy.database("internal".parse().unwrap()).is_err());
        assert!(policy.hides_database("_users"));
        let names = ["a", "b", "a"].map(|name| name.parse().unwrap()).to_vec();
        assert_eq!(policy.databases(names).unwrap().len(), 2);
    }
}
