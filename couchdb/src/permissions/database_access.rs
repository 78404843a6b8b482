//! The access to databases according to `_security`: names, roles, administrators, everyone.
//!
//! Trove's own answers have room only for the names of members.

use serde_json::Value;

use crate::{CommandError, Couch, ListedDatabase, Range, permissions::security};

/// Names and roles that have the same access.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// User names, even of users that do not exist.
    pub names: Vec<String>,
    /// Roles, except that of the server's administrators.
    pub roles: Vec<String>,
}

/// The access in one `_security`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseAccess {
    /// The database as CouchDB lists it.
    pub database: String,
    /// May read and write documents.
    pub members: Group,
    /// May also change design documents and `_security`.
    pub admins: Group,
    /// Everyone may read and write documents.
    pub public: bool,
    /// The form is not documented by CouchDB, so the access is unclear.
    pub malformed: bool,
}

/// Several databases, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessPage {
    /// The databases that were read.
    pub databases: Vec<DatabaseAccess>,
    /// The databases of the page that CouchDB can't open.
    pub unknown: Vec<String>,
    /// The start of the next page.
    pub next: Option<String>,
}

impl Couch {
    /// The access to a range of the databases that callers may see.
    ///
    /// # Errors
    /// Includes the case that CouchDB can't open more than a few databases of the range.
    pub async fn list_database_access(&self, range: &Range) -> Result<AccessPage, CommandError> {
        let (names, next) = self.list_databases(range).await?;
        let databases = names.into_iter().filter_map(ListedDatabase::new).collect();
        let scan = self.read_security_of(databases, |security| Some(security.clone())).await?;
        Ok(AccessPage {
            databases: scan.found.iter().map(|(database, security)| access_of(database, security)).collect(),
            unknown: scan.unknown.iter().map(|database| database.as_str().to_owned()).collect(),
            next,
        })
    }
}

fn access_of(database: &ListedDatabase, security: &Value) -> DatabaseAccess {
    let (members, admins) = security::groups(security);
    let group = |group: &Value| {
        let texts = |list: &str| {
            let items = group[list].as_array().into_iter().flatten().filter_map(Value::as_str);
            items.filter(|item| *item != security::ADMIN_ROLE).map(str::to_owned).collect()
        };
        Group { names: texts("names"), roles: texts("roles") }
    };
    DatabaseAccess {
        database: database.as_str().to_owned(),
        members: group(members),
        admins: group(admins),
        public: security::is_public(security),
        malformed: !security::is_well_formed(security),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn access_of(security: &Value) -> DatabaseAccess {
        let database = ListedDatabase::new("d".to_owned()).unwrap();
        super::access_of(&database, security)
    }

    fn texts(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn names_roles_administrators_and_everybody_are_seen() {
        let access = access_of(&json!({
            "admins": {"names": ["wr"], "roles": ["_admin", "dba"]}, "members": {"names": ["ed"], "roles": ["editor"]},
        }));
        assert_eq!(access.members, Group { names: texts(&["ed"]), roles: texts(&["editor"]) });
        assert_eq!(access.admins, Group { names: texts(&["wr"]), roles: texts(&["dba"]) });
        assert!(!access.public && !access.malformed);
        assert!(access_of(&json!({})).public);
        assert!(access_of(&json!({"admins": {"names": ["wr"], "roles": []}})).public);
        assert!(!access_of(&json!({"members": {"names": [], "roles": ["_admin"]}})).public);
        assert_eq!(
            access_of(&json!({"readers": {"names": ["old"], "roles": []}})).members.names,
            texts(&["old"])
        );
        assert!(access_of(&json!({"members": {"names": "al"}})).malformed);
    }
}
