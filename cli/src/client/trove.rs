//! Trove's commands on users, databases, access and root as functions, with trove-api's arguments and answers
//! (`trove/guestagent/api.py`, `trove/extensions/mysql/models.py`).

use serde_json::{Value, json};
use trove_couchdb_protocol::{DatabaseName, DecodeError, Secret, UserName};

use super::{CallError, Connection};

/// The host of every user: CouchDB does not restrict by host.
const ANY_HOST: &str = "%";

/// The number of users or databases per request when all are needed.
const PAGE: u64 = 500;

/// A user in the agent's answer; a name that was created without the agent may break the agent's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUser {
    /// Its name.
    pub name: String,
    /// The host from which it may log in.
    pub host: String,
    /// The databases it has access to.
    pub databases: Vec<String>,
}

/// A page of a list, and the marker of the next page, if any.
pub type Page<T> = (Vec<T>, Option<String>);

impl Connection {
    /// A page of the users, or all users after `marker` without a limit.
    pub async fn users(
        &self,
        limit: Option<u64>,
        marker: Option<&str>,
    ) -> Result<Page<ListedUser>, CallError> {
        self.list("list_users", limit, marker, user_of).await
    }

    /// A page of the databases, or all databases after `marker` without a limit.
    pub async fn databases(
        &self,
        limit: Option<u64>,
        marker: Option<&str>,
    ) -> Result<Page<String>, CallError> {
        self.list("list_databases", limit, marker, name_of).await
    }

    async fn list<T>(
        &self,
        method: &str,
        limit: Option<u64>,
        marker: Option<&str>,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Page<T>, CallError> {
        let mut items = Vec::new();
        let mut marker = marker.map(str::to_owned);
        loop {
            let args = json!({ "limit": limit.unwrap_or(PAGE), "marker": marker, "include_marker": false });
            let answer = self.call(method, args).await?;
            let part = answer.get(0).and_then(Value::as_array).ok_or_else(|| odd(method))?;
            for item in part {
                items.push(read(item).ok_or_else(|| odd(method))?);
            }
            let next = answer.get(1).and_then(Value::as_str).map(str::to_owned);
            // A marker that does not change would cause an endless loop.
            if limit.is_some() || next.is_none() || next == marker {
                return Ok((items, next));
            }
            marker = next;
        }
    }

    /// A user, `None` if it does not exist.
    pub async fn user(&self, name: &UserName) -> Result<Option<ListedUser>, CallError> {
        match self.call("get_user", named(name)).await? {
            Value::Null => Ok(None),
            value => user_of(&value).map(Some).ok_or_else(|| odd("get_user")),
        }
    }

    /// Whether a database exists, checked as trove-api does.
    pub async fn has_database(&self, name: &DatabaseName) -> Result<bool, CallError> {
        let args = json!({ "limit": 1, "marker": name.as_str(), "include_marker": true });
        let answer = self.call("list_databases", args).await?;
        Ok(answer.get(0).and_then(|part| part.get(0)).and_then(name_of).as_deref() == Some(name.as_str()))
    }

    /// Creates a user with access to databases.
    pub async fn create_user(
        &self,
        name: &UserName,
        password: &Secret,
        databases: &[DatabaseName],
    ) -> Result<(), CallError> {
        let databases: Vec<Value> = databases.iter().map(database_object).collect();
        let user = json!({
            "_name": name.as_str(), "_host": ANY_HOST, "_password": password.expose(), "_databases": databases,
            "_is_root": false,
        });
        self.call("create_user", json!({ "users": [user] })).await.map(drop)
    }

    /// Deletes a user and its access.
    pub async fn delete_user(&self, name: &UserName) -> Result<(), CallError> {
        let user = json!({ "_name": name.as_str(), "_host": ANY_HOST });
        self.call("delete_user", json!({ "user": user })).await.map(drop)
    }

    /// Changes a user's name, its password, or both.
    pub async fn update_user(
        &self,
        name: &UserName,
        rename: Option<&UserName>,
        password: Option<&Secret>,
    ) -> Result<(), CallError> {
        let mut wanted = serde_json::Map::new();
        wanted.extend(rename.map(|new| ("name".to_owned(), new.as_str().into())));
        wanted.extend(password.map(|new| ("password".to_owned(), new.expose().into())));
        let mut args = named(name);
        args["user_attrs"] = Value::Object(wanted);
        self.call("update_attributes", args).await.map(drop)
    }

    /// Grants a user access to databases.
    pub async fn grant(&self, name: &UserName, databases: &[DatabaseName]) -> Result<(), CallError> {
        let mut args = named(name);
        args["databases"] = databases.iter().map(DatabaseName::as_str).collect();
        self.call("grant_access", args).await.map(drop)
    }

    /// Revokes a user's access to a database.
    pub async fn revoke(&self, name: &UserName, database: &DatabaseName) -> Result<(), CallError> {
        let mut args = named(name);
        args["database"] = database.as_str().into();
        self.call("revoke_access", args).await.map(drop)
    }

    /// The databases that a user has access to.
    pub async fn access(&self, name: &UserName) -> Result<Vec<String>, CallError> {
        let answer = self.call("list_access", named(name)).await?;
        let databases = answer.as_array().ok_or_else(|| odd("list_access"))?;
        databases.iter().map(|database| name_of(database).ok_or_else(|| odd("list_access"))).collect()
    }

    /// Creates a database.
    pub async fn create_database(&self, name: &DatabaseName) -> Result<(), CallError> {
        self.call("create_database", json!({ "databases": [database_object(name)] })).await.map(drop)
    }

    /// Deletes a database and all its documents.
    pub async fn delete_database(&self, name: &DatabaseName) -> Result<(), CallError> {
        self.call("delete_database", json!({ "database": database_object(name) })).await.map(drop)
    }

    /// Enables root and returns its password; the agent generates one if none is given.
    pub async fn enable_root(&self, password: Option<&Secret>) -> Result<Secret, CallError> {
        let answer = match password {
            None => self.call("enable_root", json!({})).await?,
            Some(password) => {
                self.call("enable_root_with_password", json!({ "root_password": password.expose() })).await?
            }
        };
        answer["_password"].as_str().map(Secret::new).ok_or_else(|| odd("enable_root"))
    }

    /// Disables root.
    pub async fn disable_root(&self) -> Result<(), CallError> {
        self.call("disable_root", json!({})).await.map(drop)
    }

    /// Whether root is enabled.
    pub async fn is_root_enabled(&self) -> Result<bool, CallError> {
        self.call("is_root_enabled", json!({})).await?.as_bool().ok_or_else(|| odd("is_root_enabled"))
    }
}

fn named(name: &UserName) -> Value {
    json!({ "username": name.as_str(), "hostname": ANY_HOST })
}

fn database_object(name: &DatabaseName) -> Value {
    json!({ "_name": name.as_str(), "_collate": null, "_character_set": null })
}

fn name_of(value: &Value) -> Option<String> {
    value["_name"].as_str().map(str::to_owned)
}

fn user_of(value: &Value) -> Option<ListedUser> {
    let databases = value["_databases"].as_array().into_iter().flatten();
    Some(ListedUser {
        name: name_of(value)?,
        host: value["_host"].as_str().unwrap_or(ANY_HOST).to_owned(),
        databases: databases.filter_map(name_of).collect(),
    })
}

/// The error for an answer that does not have Trove's form.
fn odd(method: &str) -> CallError {
    let field = format!("result of {method}");
    CallError::Undecodable(DecodeError::WrongType { field, expected: "as Trove's API reads it" })
}
