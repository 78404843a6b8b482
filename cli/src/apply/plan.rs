//! What must be done to get from what is there to what is wanted: pure, so that it can be tried on models.
//!
//! Steps come in an order in which each is possible when the one before it is done: databases, users with their access,
//! passwords, further access, and only then what goes away.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use trove_couchdb_protocol::{DatabaseName, Secret, UserName};

use super::file::Wanted;

/// Which databases a user has access to.
pub type Access = BTreeSet<DatabaseName>;

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Present {
    /// The databases.
    pub databases: BTreeSet<DatabaseName>,
    /// The users with their access.
    pub users: BTreeMap<UserName, Access>,
    /// Users and databases whose names no command can hold: somebody else made them, past the agent.
    pub odd: BTreeSet<String>,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Creates a database.
    CreateDatabase(DatabaseName),
    /// Creates a user with its access.
    CreateUser(UserName, Access),
    /// Gives a user the password of the file.
    SetPassword(UserName),
    /// Gives a user access.
    Grant(UserName, Access),
    /// Takes a user's access away.
    Revoke(UserName, DatabaseName),
    /// Deletes a user.
    DeleteUser(UserName),
    /// Deletes a database.
    DeleteDatabase(DatabaseName),
}

/// What must be done, and what stays although the file doesn't have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The commands in their order.
    pub steps: Vec<Step>,
    /// In words: users, databases and access that only `--prune` removes, and what can't be managed at all.
    pub kept: Vec<String>,
}

/// Compares what is there with what is wanted. Without `prune` nothing is ever taken away.
pub fn plan(present: &Present, wanted: &Wanted, prune: bool) -> Plan {
    let mut plan = Plan::default();
    let missing = wanted.databases.difference(&present.databases);
    plan.steps.extend(missing.cloned().map(Step::CreateDatabase));
    for (name, user) in &wanted.users {
        match present.users.get(name) {
            None => plan.steps.push(Step::CreateUser(name.clone(), user.databases.clone())),
            Some(access) => {
                if user.rotate_password {
                    plan.steps.push(Step::SetPassword(name.clone()));
                }
                let more: Access = user.databases.difference(access).cloned().collect();
                if !more.is_empty() {
                    plan.steps.push(Step::Grant(name.clone(), more));
                }
            }
        }
    }
    for step in surplus(present, wanted) {
        if prune {
            plan.steps.push(step);
        } else {
            plan.kept.push(kept(&step));
        }
    }
    plan.kept.extend(present.odd.iter().map(|name| format!("{name:?} (its name can't be managed)")));
    plan
}

/// What is there and not wanted, as the steps that remove it. Access goes with its user or its database.
fn surplus(present: &Present, wanted: &Wanted) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, user) in &wanted.users {
        let access = present.users.get(name).into_iter().flatten();
        let surplus = access.filter(|database| !user.databases.contains(*database));
        let remaining = surplus.filter(|database| wanted.databases.contains(*database));
        steps.extend(remaining.map(|database| Step::Revoke(name.clone(), database.clone())));
    }
    let users = present.users.keys().filter(|name| !wanted.users.contains_key(*name));
    steps.extend(users.cloned().map(Step::DeleteUser));
    let databases = present.databases.difference(&wanted.databases);
    steps.extend(databases.cloned().map(Step::DeleteDatabase));
    steps
}

fn kept(step: &Step) -> String {
    match step {
        Step::Revoke(user, database) => {
            format!("access of user {:?} to {:?}", user.as_str(), database.as_str())
        }
        Step::DeleteUser(user) => format!("user {:?}", user.as_str()),
        Step::DeleteDatabase(database) => format!("database {:?}", database.as_str()),
        other => format!("{other:?}"),
    }
}

fn names(access: &Access) -> Vec<&str> {
    access.iter().map(DatabaseName::as_str).collect()
}

impl Step {
    /// Whether something is lost that can't be brought back.
    pub fn is_destructive(&self) -> bool {
        matches!(self, Self::DeleteUser(_) | Self::DeleteDatabase(_))
    }

    /// The step for programs, with what became of it and the password that nobody else knows.
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
            Self::DeleteUser(user) => json!({ "action": "delete_user", "user": user.as_str() }),
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
