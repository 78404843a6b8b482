//! Users and databases in the form that Trove expects in an answer.
//!
//! Trove's API reads these objects by key and fails with HTTP 500 if a key is missing (PROTOCOL, section 8,
//! "Answer shapes"). So every key is present, with null where `CouchDB` has no such property.

use serde_json::{Value, json};

use crate::secret::Secret;

/// The host of every user: `CouchDB` does not restrict by host.
const ANY_HOST: &str = "%";

/// The administrator's name in Trove's API, whatever the guest calls it.
const ROOT: &str = "root";

/// A database in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseModel {
    /// Its name.
    pub name: String,
}

impl DatabaseModel {
    /// The serialized form of Trove's `MySQLSchema`.
    pub fn to_value(&self) -> Value {
        json!({ "_name": self.name, "_collate": null, "_character_set": null })
    }
}

/// A user in an answer, without a password: `CouchDB` stores only hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserModel {
    /// Its name.
    pub name: String,
    /// The databases that the user has access to.
    pub databases: Vec<String>,
}

impl UserModel {
    /// The serialized form of Trove's `MySQLUser`.
    pub fn to_value(&self) -> Value {
        user(&self.name, None, &self.databases, false)
    }
}

/// The answer to `enable_root` and `enable_root_with_password`, the only answer with a password.
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
