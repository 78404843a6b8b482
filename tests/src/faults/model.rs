//! The expected state of one namespace of a guest as a value, and the effect of each command on it.
//!
//! This is the reference that the agent is checked against: a pure function from a model, a command and its
//! observed result to the models that are possible now. No model means that the agent and the reference
//! disagree. Callers: [`super::possible`] to check, [`super::plan`] to choose sensible commands. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Users with their passwords, databases, and memberships.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Model {
    /// Password by user.
    pub users: BTreeMap<String, String>,
    /// Databases that exist.
    pub databases: BTreeSet<String>,
    /// Database and user of each membership.
    pub members: BTreeSet<(String, String)>,
    /// `root`'s password while it is enabled; [`UNKNOWN`] if the answer with it did not arrive.
    pub root: Option<String>,
}

/// The password of a `root` that was enabled with a generated password whose answer did not arrive.
pub const UNKNOWN: &str = "?";

/// A command as the model understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are named after what they are.
pub enum Op {
    /// `create_user` with one user.
    CreateUser { user: String, password: String, databases: Vec<String> },
    /// `delete_user`.
    DeleteUser { user: String },
    /// `change_passwords` of one user.
    ChangePassword { user: String, password: String },
    /// `update_attributes` with a name, and perhaps a password.
    Rename { old: String, new: String, password: Option<String> },
    /// `grant_access`.
    Grant { user: String, databases: Vec<String> },
    /// `revoke_access`.
    Revoke { user: String, database: String },
    /// `create_database`.
    CreateDatabases { databases: Vec<String> },
    /// `delete_database`.
    DeleteDatabase { database: String },
    /// `get_user`.
    GetUser { user: String },
    /// `list_access`.
    ListAccess { user: String },
    /// `list_users`; only names with this prefix are checked.
    ListUsers { prefix: String },
    /// `list_databases`; only names with this prefix are checked.
    ListDatabases { prefix: String },
    /// `enable_root`, or `enable_root_with_password`.
    EnableRoot { password: Option<String> },
    /// `disable_root`.
    DisableRoot,
    /// `is_root_enabled`.
    IsRootEnabled,
    /// `rpc_ping`.
    Ping,
}

/// A refusal that the model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `UserNotFound`.
    NoSuchUser,
    /// `DatabaseNotFound`.
    NoSuchDatabase,
    /// `UserAlreadyExists`.
    UserExists,
}

/// The observed result of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// It succeeded with this value; `null` for a cast.
    Done(Value),
    /// It was refused.
    Refused(Refusal),
    /// It failed because CouchDB was unreachable, or its answer never came: it may be done, undone or partly
    /// done.
    Unsure,
}

impl Model {
    /// The models that are possible after `op` had this result; none if the result is impossible.
    ///
    /// `disturbed` means that, because of a fault, the broker may have delivered the command twice or the
    /// agent may have run it twice. The deletion of a missing object can then be the second run of a
    /// successful one, and succeeds.
    pub fn after(&self, op: &Op, observed: &Observed, disturbed: bool) -> Vec<Self> {
        match (observed, self.run(op)) {
            (Observed::Unsure, Ok(next)) => {
                let mut worlds = self.halfway(op);
                worlds.extend([self.clone(), next]);
                worlds
            }
            (Observed::Unsure, Err(_)) => vec![self.clone()],
            (Observed::Refused(refusal), Err(foreseen)) if *refusal == foreseen => vec![self.clone()],
            (Observed::Done(value), Ok(next)) => next.answered(op, value).into_iter().collect(),
            (Observed::Done(_), Err(_))
                if disturbed && matches!(op, Op::DeleteUser { .. } | Op::DeleteDatabase { .. }) =>
            {
                vec![self.clone()]
            }
            _ => Vec::new(),
        }
    }

    /// The model after the whole command, or the refusal; checks run in the agent's order.
    pub fn run(&self, op: &Op) -> Result<Self, Refusal> {
        let mut next = self.clone();
        match op {
            Op::CreateUser { user, password, databases } => {
                self.require_databases(databases)?;
                if self.users.contains_key(user) {
                    return Err(Refusal::UserExists);
                }
                next.users.insert(user.clone(), password.clone());
                next.members.extend(pairs(databases, user));
            }
            Op::DeleteUser { user } => {
                self.require_user(user)?;
                next.users.remove(user);
                next.members.retain(|(_, member)| member != user);
            }
            Op::ChangePassword { user, password } => {
                self.require_user(user)?;
                next.users.insert(user.clone(), password.clone());
            }
            Op::Rename { old, new, password } => {
                self.require_user(old)?;
                if self.users.contains_key(new) {
                    return Err(Refusal::UserExists);
                }
                let kept = next.users.remove(old).unwrap_or_default();
                next.users.insert(new.clone(), password.clone().unwrap_or(kept));
                let renamed = |member: String| if member == *old { new.clone() } else { member };
                next.members =
                    next.members.into_iter().map(|(database, member)| (database, renamed(member))).collect();
            }
            Op::Grant { user, databases } => {
                self.require_user(user)?;
                self.require_databases(databases)?;
                next.members.extend(pairs(databases, user));
            }
            Op::Revoke { user, database } => {
                self.require_databases(std::slice::from_ref(database))?;
                next.members.remove(&(database.clone(), user.clone()));
            }
            Op::CreateDatabases { databases } => next.databases.extend(databases.iter().cloned()),
            Op::DeleteDatabase { database } => {
                self.require_databases(std::slice::from_ref(database))?;
                next.databases.remove(database);
                next.members.retain(|(of, _)| of != database);
            }
            Op::ListAccess { user } => self.require_user(user)?,
            Op::EnableRoot { password } => {
                next.root = Some(password.clone().unwrap_or_else(|| UNKNOWN.to_owned()));
            }
            Op::DisableRoot => next.root = None,
            Op::GetUser { .. }
            | Op::ListUsers { .. }
            | Op::ListDatabases { .. }
            | Op::IsRootEnabled
            | Op::Ping => {}
        }
        Ok(next)
    }

    /// The databases of a user.
    pub fn databases_of(&self, user: &str) -> BTreeSet<String> {
        self.members
            .iter()
            .filter(|(_, member)| member == user)
            .map(|(database, _)| database.clone())
            .collect()
    }

    fn require_user(&self, user: &str) -> Result<(), Refusal> {
        if self.users.contains_key(user) { Ok(()) } else { Err(Refusal::NoSuchUser) }
    }

    fn require_databases(&self, names: &[String]) -> Result<(), Refusal> {
        if names.iter().all(|name| self.databases.contains(name)) {
            Ok(())
        } else {
            Err(Refusal::NoSuchDatabase)
        }
    }

    /// This model if it agrees with the answered value; takes over a `root` password from the answer.
    fn answered(mut self, op: &Op, value: &Value) -> Option<Self> {
        let fits = match op {
            Op::GetUser { user } if self.users.contains_key(user) => {
                value["_name"] == user.as_str() && named(&value["_databases"]) == self.databases_of(user)
            }
            Op::ListAccess { user } => named(value) == self.databases_of(user),
            Op::ListUsers { prefix } => {
                let listed: BTreeMap<String, BTreeSet<String>> = items(&value[0])
                    .filter_map(|user| Some((user["_name"].as_str()?.to_owned(), named(&user["_databases"]))))
                    .filter(|(name, _)| name.starts_with(prefix))
                    .collect();
                listed.len() == self.users.len()
                    && self.users.keys().all(|user| listed.get(user) == Some(&self.databases_of(user)))
            }
            Op::ListDatabases { prefix } => {
                let ours = |names: &BTreeSet<String>| -> BTreeSet<String> {
                    names.iter().filter(|name| name.starts_with(prefix)).cloned().collect()
                };
                ours(&named(&value[0])) == ours(&self.databases)
            }
            Op::IsRootEnabled => value.as_bool() == Some(self.root.is_some()),
            Op::EnableRoot { password } => {
                let answered = value["_password"].as_str();
                if password.is_none() {
                    self.root = answered.map(str::to_owned);
                }
                answered.is_some_and(|answered| {
                    !answered.is_empty() && password.as_deref().is_none_or(|given| given == answered)
                })
            }
            Op::Ping => value.is_null() || *value == true,
            _ => value.is_null(),
        };
        fits.then_some(self)
    }

    /// The states in which a command of several steps may have stopped for good.
    fn halfway(&self, op: &Op) -> Vec<Self> {
        match op {
            Op::CreateUser { user, password, databases } => {
                let mut made = self.clone();
                made.users.insert(user.clone(), password.clone());
                made.with_some_members(databases, user)
            }
            Op::Grant { user, databases } => self.with_some_members(databases, user),
            Op::CreateDatabases { databases } => subsets(databases)
                .map(|some| {
                    let mut next = self.clone();
                    next.databases.extend(some);
                    next
                })
                .collect(),
            Op::DeleteUser { user } => self.replacing_some(user, None),
            Op::Rename { old, new, password } => {
                let mut both = self.clone();
                let kept = both.users.get(old).cloned().unwrap_or_default();
                both.users.insert(new.clone(), password.clone().unwrap_or(kept));
                both.replacing_some(old, Some(new))
            }
            _ => Vec::new(),
        }
    }

    fn with_some_members(&self, databases: &[String], user: &str) -> Vec<Self> {
        subsets(databases)
            .map(|some| {
                let mut next = self.clone();
                next.members.extend(pairs(&some, user));
                next
            })
            .collect()
    }

    /// Some memberships of `old` removed, or transferred to `new`.
    fn replacing_some(&self, old: &str, new: Option<&str>) -> Vec<Self> {
        let held: Vec<String> = self.databases_of(old).into_iter().collect();
        subsets(&held)
            .map(|some| {
                let mut next = self.clone();
                for database in some {
                    next.members.remove(&(database.clone(), old.to_owned()));
                    next.members.extend(new.map(|new| (database, new.to_owned())));
                }
                next
            })
            .collect()
    }
}

fn pairs(databases: &[String], user: &str) -> Vec<(String, String)> {
    databases.iter().map(|database| (database.clone(), user.to_owned())).collect()
}

fn subsets(names: &[String]) -> impl Iterator<Item = Vec<String>> + '_ {
    let count = 1_u32 << names.len().min(16);
    (0..count).map(move |mask| {
        names
            .iter()
            .enumerate()
            .filter(|(bit, _)| mask & (1 << bit) != 0)
            .map(|(_, name)| name.clone())
            .collect()
    })
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn named(list: &Value) -> BTreeSet<String> {
    items(list).filter_map(|item| item["_name"].as_str()).map(str::to_owned).collect()
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
