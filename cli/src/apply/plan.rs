//! Computes the steps from the current state to the described state. No
//! I/O, so that it can be tested on models.
//!
//! The order of the steps makes each step possible after the previous ones: databases, users with their
//! access, passwords, further access, and finally deletions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use trove_couchdb_protocol::{DatabaseName, Secret, UserName};

use super::wanted::{Access, Wanted};
use crate::client::{AccessReport, OwnDatabase};

/// The current state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Present {
    /// The databases.
    pub databases: BTreeSet<DatabaseName>,
    /// The users with their access.
    pub users: BTreeMap<UserName, Access>,
    /// Users and databases whose names no command accepts; they were created without the agent.
    pub odd: BTreeSet<String>,
    /// Who has access to which database.
    pub access: AccessReport,
    /// The databases that CouchDB deletes with a user, for the users that may be deleted.
    pub own: BTreeMap<UserName, OwnDatabase>,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyStep {
    /// Creates a database.
    CreateDatabase(DatabaseName),
    /// Creates a user with its access.
    CreateUser(UserName, Access),
    /// Sets a user's password from the file.
    SetPassword(UserName),
    /// Grants a user access.
    Grant(UserName, Access),
    /// Revokes a user's access.
    Revoke(UserName, DatabaseName),
    /// Deletes a user, and the database that CouchDB keeps for it, if any.
    DeleteUser(UserName, Option<OwnDatabase>),
    /// Deletes a database.
    DeleteDatabase(DatabaseName),
}

/// The steps, and what is kept although it is not in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The commands in order.
    pub steps: Vec<ApplyStep>,
    /// Descriptions of users, databases and access that only `--prune` removes,
    /// and of objects that cannot be managed.
    pub left_alone: Vec<String>,
    /// Descriptions of access that no file can express; it is kept.
    pub undescribed: Vec<String>,
    /// Descriptions of objects in the file that a step would destroy.
    pub contradictions: Vec<String>,
}

/// Compares the current state with the described one. Without `prune` nothing is removed.
pub fn plan(present: &Present, wanted: &Wanted, prune: bool) -> Plan {
    let mut plan = Plan::default();
    let missing = wanted.databases.difference(&present.databases);
    plan.steps.extend(missing.cloned().map(ApplyStep::CreateDatabase));
    for (name, user) in &wanted.users {
        match present.users.get(name) {
            None => plan.steps.push(ApplyStep::CreateUser(name.clone(), user.databases.clone())),
            Some(access) => {
                if user.rotate_password {
                    plan.steps.push(ApplyStep::SetPassword(name.clone()));
                }
                let known = |name: &&DatabaseName| !present.is_unknown(name);
                let more: Access = user.databases.difference(access).filter(known).cloned().collect();
                if !more.is_empty() {
                    plan.steps.push(ApplyStep::Grant(name.clone(), more));
                }
            }
        }
    }
    for step in surplus(present, wanted) {
        if prune {
            plan.steps.push(step);
        } else {
            plan.left_alone.push(left_alone(&step));
        }
    }
    plan.left_alone.extend(present.odd.iter().map(|name| format!("{name:?} (its name can't be managed)")));
    let is_user = |name: &str| present.users.keys().any(|user| user.as_str() == name);
    let deleted: BTreeSet<&str> = plan.steps.iter().filter_map(ApplyStep::deletes).collect();
    plan.undescribed = present.access.beyond(is_user, |database| deleted.contains(database));
    let left_alone = |step: &ApplyStep| match step {
        ApplyStep::DeleteUser(user, Some(own))
            if wanted.databases.iter().any(|name| name.as_str() == own.database) =>
        {
            Some(format!(
                "the file keeps {}, and CouchDB deletes it with user {:?}",
                own.describe(),
                user.as_str()
            ))
        }
        _ => None,
    };
    plan.contradictions = plan.steps.iter().filter_map(left_alone).collect();
    plan
}

impl Present {
    /// Whether the access to the database is unknown.
    fn is_unknown(&self, database: &DatabaseName) -> bool {
        self.access.unknown.iter().any(|name| name == database.as_str())
    }
}

impl Plan {
    /// Whether the current state is exactly the described one.
    pub fn is_as_described(&self) -> bool {
        self.steps.is_empty() && self.left_alone.is_empty() && self.undescribed.is_empty()
    }
}

/// The steps that remove everything that is not in the file. Access is removed with its user or database.
fn surplus(present: &Present, wanted: &Wanted) -> Vec<ApplyStep> {
    let mut steps = Vec::new();
    for (name, user) in &wanted.users {
        let access = present.users.get(name).into_iter().flatten();
        let surplus = access.filter(|database| !user.databases.contains(*database));
        let remaining = surplus.filter(|database| wanted.databases.contains(*database));
        steps.extend(remaining.map(|database| ApplyStep::Revoke(name.clone(), database.clone())));
    }
    let users = present.users.keys().filter(|name| !wanted.users.contains_key(*name));
    let with_its_own = |name: &UserName| ApplyStep::DeleteUser(name.clone(), present.own.get(name).cloned());
    steps.extend(users.map(with_its_own));
    let gone: BTreeSet<&str> = steps.iter().filter_map(ApplyStep::deletes).collect();
    let databases = present.databases.difference(&wanted.databases);
    // Skips databases that are deleted with their users, and databases whose access is unknown.
    let databases: Vec<&DatabaseName> =
        databases.filter(|name| !gone.contains(name.as_str()) && !present.is_unknown(name)).collect();
    steps.extend(databases.into_iter().cloned().map(ApplyStep::DeleteDatabase));
    steps
}

fn left_alone(step: &ApplyStep) -> String {
    match step {
        ApplyStep::Revoke(user, database) => {
            format!("access of user {:?} to {:?}", user.as_str(), database.as_str())
        }
        ApplyStep::DeleteUser(user, _) => format!("user {:?}", user.as_str()),
        ApplyStep::DeleteDatabase(database) => format!("database {:?}", database.as_str()),
        other => format!("{other:?}"),
    }
}

fn names(access: &Access) -> Vec<&str> {
    access.iter().map(DatabaseName::as_str).collect()
}

impl ApplyStep {
    /// Whether the step destroys data.
    pub fn is_destructive(&self) -> bool {
        matches!(self, Self::DeleteUser(..) | Self::DeleteDatabase(_))
    }

    /// The database that the step deletes.
    fn deletes(&self) -> Option<&str> {
        match self {
            Self::DeleteDatabase(name) => Some(name.as_str()),
            Self::DeleteUser(_, own) => own.as_ref().map(|own| own.database.as_str()),
            _ => None,
        }
    }

    /// The step for programs, with its outcome and a generated password.
    pub(super) fn document(&self, outcome: &str, password: Option<&Secret>) -> Value {
        let mut document = match self {
            Self::CreateDatabase(database) => {
                json!({ "action": "create_database", "database": database.as_str() })
            }
            Self::CreateUser(user, access) => {
                json!({ "action": "create_user", "user": user.as_str(), "databases": names(access) })
            }
            Self::SetPassword(user) => json!({ "action": "set_password", "user": user.as_str() }),
            Self::Grant(user, access) => {
                json!({ "action": "grant_access", "user": user.as_str(), "databases": names(access) })
            }
            Self::Revoke(user, database) => {
                json!({ "action": "revoke_access", "user": user.as_str(), "database": database.as_str() })
            }
            Self::DeleteUser(user, None) => json!({ "action": "delete_user", "user": user.as_str() }),
            Self::DeleteUser(user, Some(own)) => {
                json!({ "action": "delete_user", "user": user.as_str(), "deleted_with_it": own.document() })
            }
            Self::DeleteDatabase(database) => {
                json!({ "action": "delete_database", "database": database.as_str() })
            }
        };
        document["outcome"] = outcome.into();
        if let Some(password) = password {
            document["password"] = password.expose().into();
        }
        document
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
