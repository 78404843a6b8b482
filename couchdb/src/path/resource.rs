//! All paths of CouchDB's HTTP API that this agent can request.
//!
//! Request lines are built only here, and only from names that encode themselves. Resources without a variant
//! can't be requested: no caller of the agent can redirect a request to a path other than that of its
//! command.

use trove_couchdb_protocol::{DatabaseName, UserName};

use crate::path::{
    encode::encode,
    segment::{ConfigRoot, ListedDatabase, ServerAdmin, SystemDatabase},
};

/// The first id after all user documents: `;` follows `:` in CouchDB's order of `_all_docs` (raw bytes).
const USERS_END: &str = "org.couchdb.user;";

pub(crate) const USER_ID_PREFIX: &str = "org.couchdb.user:";

/// The resource of a request.
#[derive(Debug, Clone)]
pub enum Resource<'a> {
    /// `GET /`: the welcome with the version.
    Welcome,
    /// The session, which names the account of the login.
    Session,
    /// The nodes of a 2.x+ server.
    Membership,
    /// One page of database names, from `start` on.
    AllDatabases {
        /// The first name, or `None` for all.
        start: Option<&'a str>,
        /// The maximum number of names.
        limit: Option<usize>,
    },
    /// A database for users of the service.
    Database(&'a DatabaseName),
    /// One of CouchDB's own databases.
    System(SystemDatabase),
    /// The security object of a database that the server listed.
    Security(&'a ListedDatabase),
    /// A user's document.
    User(&'a UserName),
    /// A given revision of a user's document.
    UserRevision(&'a UserName, &'a str),
    /// The ids of user documents, from a name on.
    UserIds {
        /// The first name.
        start: &'a str,
        /// The maximum number of ids.
        limit: usize,
    },
    /// User documents from a name on, with their conflicting revisions.
    UsersWithConflicts {
        /// The first name.
        start: &'a str,
        /// The maximum number of documents.
        limit: usize,
    },
    /// The user documents named in the body's `keys`, with their content.
    UsersByKey,
    /// A user's document with its conflicting revisions.
    UserWithConflicts(&'a UserName),
    /// Writes several user documents at once.
    UsersBulk,
    /// The design document that validates user documents. Once it exists, `_users` is safe to use.
    UsersAuthDesign,
    /// Exists only through a proxy that decodes `%2F` in paths. Intact, the path names an impossible database.
    DecodedPath,
    /// All server administrators.
    Admins(&'a ConfigRoot),
    /// One server administrator's stored hash.
    Admin(&'a ConfigRoot, ServerAdmin),
    /// The same, written unchanged with `raw`: CouchDB 1.x would hash the hash again.
    AdminHash(&'a ConfigRoot, ServerAdmin),
    /// Whether CouchDB creates a database for each user (`enable`), or deletes it with the user
    /// (`delete_dbs`).
    PerUser(&'a ConfigRoot, &'static str),
    /// The directory of the server's databases.
    DatabaseDirectory(&'a ConfigRoot),
    /// Whether the node serves requests. Missing on 1.x.
    Up,
    /// `require_valid_user` in the section that the server's version uses.
    RequireValidUser(&'a ConfigRoot, &'static str),
    /// A setting by section and key.
    Setting(&'a ConfigRoot, &'static str, &'static str),
}

impl Resource<'_> {
    /// Whether the resource is in the `_users` database.
    pub(crate) fn is_in_users(&self) -> bool {
        matches!(
            self,
            Self::User(_)
                | Self::UserRevision(..)
                | Self::UserWithConflicts(_)
                | Self::UserIds { .. }
                | Self::UsersWithConflicts { .. }
                | Self::UsersByKey
                | Self::UsersBulk
                | Self::UsersAuthDesign
        )
    }

    /// The kind of resource without any name, for the label of a metric.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Welcome => "welcome",
            Self::Session => "session",
            Self::Membership => "membership",
            Self::AllDatabases { .. } => "all_dbs",
            Self::Database(_) | Self::DecodedPath => "database",
            Self::System(_) => "system_database",
            Self::Security(_) => "security",
            Self::User(_) | Self::UserRevision(..) | Self::UserWithConflicts(_) => "user",
            Self::UserIds { .. } | Self::UsersWithConflicts { .. } | Self::UsersByKey => "users_all_docs",
            Self::UsersBulk => "users_bulk_docs",
            Self::UsersAuthDesign => "users_design",
            Self::Admins(_) | Self::Admin(..) | Self::AdminHash(..) => "config_admins",
            Self::PerUser(..)
            | Self::DatabaseDirectory(_)
            | Self::RequireValidUser(..)
            | Self::Setting(..) => "config",
            Self::Up => "up",
        }
    }

    /// The server's reason, without parts of the name that must not be shown.
    pub(crate) fn kept_back_in(&self, reason: &str) -> String {
        match self {
            Self::Database(name) => name.kept_back_in(reason),
            Self::User(name) | Self::UserRevision(name, _) => name.kept_back_in(reason),
            _ => reason.to_owned(),
        }
    }

    /// Whether a proxy that decodes paths would turn this into another resource.
    pub(crate) fn has_a_slash_in_a_name(&self) -> bool {
        self.path().split('?').next().is_some_and(|path| path.contains("%2F"))
    }

    /// The path and query, percent-encoded, with a leading `/`.
    pub fn path(&self) -> String {
        match self {
            Self::Welcome => "/".to_owned(),
            Self::Session => "/_session".to_owned(),
            Self::Membership => "/_membership".to_owned(),
            Self::AllDatabases { start, limit } => all_databases(*start, *limit),
            Self::Database(name) => format!("/{}", name.percent_encoded()),
            Self::System(system) => format!("/{}", system.as_str()),
            Self::Security(name) => format!("/{}/_security", encode(name.as_str())),
            Self::User(name) => format!("/_users/{}", name.document_path()),
            Self::UserRevision(name, rev) => format!("/_users/{}?rev={}", name.document_path(), encode(rev)),
            Self::UserIds { start, limit } => users_from(start, *limit),
            Self::UsersWithConflicts { start, limit } => {
                format!("{}&include_docs=true&conflicts=true", users_from(start, *limit))
            }
            Self::UserWithConflicts(name) => format!("/_users/{}?conflicts=true", name.document_path()),
            Self::UsersByKey => "/_users/_all_docs?include_docs=true&conflicts=true".to_owned(),
            Self::UsersBulk => "/_users/_bulk_docs".to_owned(),
            Self::UsersAuthDesign => "/_users/_design/_auth".to_owned(),
            Self::DecodedPath => "/_users%2F_design%2F_auth".to_owned(),
            Self::Admins(root) => format!("{}/admins", root.path()),
            Self::Admin(root, admin) => format!("{}/admins/{}", root.path(), admin.as_str()),
            Self::AdminHash(root, admin) => format!("{}/admins/{}?raw=true", root.path(), admin.as_str()),
            Self::PerUser(root, key) => format!("{}/couch_peruser/{key}", root.path()),
            Self::DatabaseDirectory(root) => format!("{}/couchdb/database_dir", root.path()),
            Self::Up => "/_up".to_owned(),
            Self::RequireValidUser(root, section) => format!("{}/{section}/require_valid_user", root.path()),
            Self::Setting(root, section, key) => format!("{}/{section}/{key}", root.path()),
        }
    }
}

fn users_from(start: &str, limit: usize) -> String {
    format!(
        "/_users/_all_docs?startkey={}&endkey={}&inclusive_end=false&limit={limit}",
        json_key(&format!("{USER_ID_PREFIX}{start}")),
        json_key(USERS_END),
    )
}

fn all_databases(start: Option<&str>, limit: Option<usize>) -> String {
    let start = start.map(|name| format!("start_key={}", json_key(name)));
    let limit = limit.map(|count| format!("limit={count}"));
    let query: Vec<String> = start.into_iter().chain(limit).collect();
    if query.is_empty() { "/_all_dbs".to_owned() } else { format!("/_all_dbs?{}", query.join("&")) }
}

/// A key of a view query: JSON, then percent-encoded.
fn json_key(text: &str) -> String {
    encode(&serde_json::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::Node;

    #[test]
    fn a_name_stays_one_segment() {
        let database: DatabaseName = "a/b+c".parse().unwrap();
        assert_eq!(Resource::Database(&database).path(), "/a%2Fb%2Bc");
        let user: UserName = "x/../_all_docs?rev=1#".parse().unwrap();
        assert_eq!(
            Resource::User(&user).path(),
            "/_users/org.couchdb.user%3Ax%2F..%2F_all_docs%3Frev%3D1%23"
        );
        let listed = ListedDatabase::new("../_users".into()).unwrap();
        assert_eq!(Resource::Security(&listed).path(), "/..%2F_users/_security");
    }

    #[test]
    fn a_slash_in_a_name_is_seen_and_one_in_a_query_does_not_matter() {
        let (plain, odd): (DatabaseName, DatabaseName) = ("ab".parse().unwrap(), "a/b".parse().unwrap());
        assert!(!Resource::Database(&plain).has_a_slash_in_a_name());
        assert!(Resource::Database(&odd).has_a_slash_in_a_name());
        assert!(!Resource::UserIds { start: "a/b", limit: 1 }.has_a_slash_in_a_name());
    }

    #[test]
    fn query_keys_are_json_and_encoded() {
        let path = Resource::UserIds { start: "a\"&limit=0", limit: 3 }.path();
        assert_eq!(
            path,
            "/_users/_all_docs?startkey=%22org.couchdb.user%3Aa%5C%22%26limit%3D0%22\
             &endkey=%22org.couchdb.user%3B%22&inclusive_end=false&limit=3"
        );
        assert_eq!(Resource::AllDatabases { start: None, limit: None }.path(), "/_all_dbs");
        assert_eq!(
            Resource::AllDatabases { start: Some("b"), limit: Some(2) }.path(),
            "/_all_dbs?start_key=%22b%22&limit=2"
        );
    }

    #[test]
    fn configuration_paths_follow_the_server() {
        let node = ConfigRoot::Node(Node::new("couchdb@localhost").unwrap());
        assert_eq!(
            Resource::Admin(&node, ServerAdmin::Root).path(),
            "/_node/couchdb%40localhost/_config/admins/root"
        );
        assert_eq!(Resource::Admins(&ConfigRoot::Global).path(), "/_config/admins");
    }
}
