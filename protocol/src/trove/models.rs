//! Users and databases as Trove wants them in an answer.
//!
//! Trove's API takes these objects apart by key and fails with HTTP 500 if one is missing (PROTOCOL, section 8, "Answer
//! shapes"), so every key is always there, null where `CouchDB` has nothing of the kind.

use serde_json::{Value, json};

use crate::secret::Secret;

/// The host of every user: `CouchDB` does not restrict by host.
const ANY_HOST: &str = "%";

/// The name under which Trove's API shows the administrator it enables, whatever the guest calls it.
const ROOT: &str = "root";

/// A database in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseModel {
    /// Its name.
    pub name: String,
}

impl DatabaseModel {
    /// The object Trove's `MySQLSchema` is deserialized from.
    pub fn to_value(&self) -> Value {
        json!({ "_name": self.name, "_collate": null, "_character_set": null })
    }
}

/// A user in an answer. It has no password: `CouchDB` keeps only hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserModel {
    /// Its name.
    pub name: String,
    /// The databases it has access to.
    pub databases: Vec<String>,
}

impl UserModel {
    /// The object Trove's `MySQLUser` is deserialized from.
    pub fn to_value(&self) -> Value {
        user(&self.name, None, &self.databases, false)
    }
}

/// The answer to `enable_root` and `enable_root_with_password`: the only one that holds a password.
pub fn root_user(password: &Secret) -> Value {
    user(ROOT, Some(password), &[], true)
}

fn user(name: &str, password: Option<&Secret>, databases: &[String], is_root: bool) -> Value {
    let databases: Vec<Value> =
        databases.iter().map(|name| DatabaseModel { name: name.clone() }.to_value()).collect();
    json!({
        "_name": name,
        "_host": ANY_HOST,
        "_password": password.map(Secret::expose),
        "_databases": databases,
        "_is_root": is_root,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there() {
        let user = UserModel { name: "alice".into(), databases: vec!["db1".into()] };
        let expected = json!({
            "_name": "alice", "_host": "%", "_password": null, "_is_root": false,
            "_databases": [{"_name": "db1", "_collate": null, "_character_set": null}],
        });
        assert_eq!(user.to_value(), expected);
        let expected =
            json!({"_name": "root", "_host": "%", "_password": "pw", "_databases": [], "_is_root": true});
        assert_eq!(root_user(&Secret::new("pw")), expected);
    }
}
