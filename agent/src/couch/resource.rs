//! Every path of CouchDB's HTTP API that this agent can ask for.
//!
//! A request line is built here and nowhere else, and only from names that encode themselves. What is not a
//! variant can't be requested: no caller of the agent can steer a request to another path than the one its
//! command names.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use trove_couchdb_protocol::{DatabaseName, UserName};

/// Everything but RFC 3986's unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The first id after all user documents: `;` follows `:` in CouchDB's order of `_all_docs` (raw bytes).
const USERS_END: &str = "org.couchdb.user;";

pub(crate) const USER_ID_PREFIX: &str = "org.couchdb.user:";

/// A database as the server itself lists it.
///
/// Such a name need not follow our rules for new databases (`DatabaseName`): somebody else may have made it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListedDatabase(String);

impl ListedDatabase {
    /// None for a name that no URL can hold; CouchDB has no such database, whatever it lists.
    pub fn new(name: String) -> Option<Self> {
        is_segment(&name).then_some(Self(name))
    }

    /// The name as CouchDB spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the one with the accounts.
    pub(super) fn is_users(&self) -> bool {
        self.0 == SystemDatabase::Users.as_str()
    }
}

impl From<&DatabaseName> for ListedDatabase {
    fn from(name: &DatabaseName) -> Self {
        Self(name.as_str().to_owned())
    }
}

/// The two databases that CouchDB itself needs and doesn't create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemDatabase {
    /// `_users`, the authentication database.
    Users,
    /// `_replicator`, the replication documents.
    Replicator,
}

impl SystemDatabase {
    /// The name as CouchDB spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Users => "_users",
            Self::Replicator => "_replicator",
        }
    }
}

/// The server administrators that the agent manages. No other account of `[admins]` can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerAdmin {
    /// The agent's own account.
    OsAdmin,
    /// The account that Trove's root commands switch on and off.
    Root,
}

impl ServerAdmin {
    /// The account's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OsAdmin => "os_admin",
            Self::Root => "root",
        }
    }
}

/// A node of a CouchDB 2.x or later, as its server names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName(String);

impl NodeName {
    /// None for a name that no URL can hold.
    pub fn new(name: &str) -> Option<Self> {
        is_segment(name).then(|| Self(name.to_owned()))
    }

    /// The alias for the node that is asked.
    pub fn local() -> Self {
        Self("_local".to_owned())
    }
}

/// Where a server keeps its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigRoot {
    /// CouchDB 1.x: `/_config`.
    Global,
    /// CouchDB 2.x and later: `/_node/NAME/_config`, mostly with the alias `_local`.
    Node(NodeName),
}

impl ConfigRoot {
    fn path(&self) -> String {
        match self {
            Self::Global => "/_config".to_owned(),
            Self::Node(name) => format!("/_node/{}/_config", encode(&name.0)),
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone)]
pub enum Resource<'a> {
    /// `GET /`: the welcome with the version.
    Welcome,
    /// Who the server takes us for.
    Session,
    /// The nodes of a 2.x+ server.
    Membership,
    /// One page of database names, from `start` on.
    AllDatabases {
        /// Names below this one are left out.
        start: Option<&'a str>,
        /// At most so many.
        limit: Option<usize>,
    },
    /// A database made for users of the service.
    Database(&'a DatabaseName),
    /// One of CouchDB's own databases.
    System(SystemDatabase),
    /// The security object of a database that the server listed.
    Security(&'a ListedDatabase),
    /// A user's document.
    User(&'a UserName),
    /// A certain revision of a user's document, to be deleted.
    UserRevision(&'a UserName, &'a str),
    /// The user documents' identifiers from a name on.
    UserIds {
        /// The first name.
        start: &'a str,
        /// At most so many.
        limit: usize,
    },
    /// The user documents that the body's `keys` name, with their content.
    UsersByKey,
    /// Several user documents written at once.
    UsersBulk,
    /// The validation of user documents; there once `_users` is safe to use.
    UsersAuthDesign,
    /// All server administrators.
    Admins(&'a ConfigRoot),
    /// One server administrator's stored hash.
    Admin(&'a ConfigRoot, ServerAdmin),
    /// The same, to be written as it is: CouchDB 1.x would hash a hash again.
    AdminHash(&'a ConfigRoot, ServerAdmin),
    /// Whether CouchDB makes each user a database (`enable`), or deletes it with the user (`delete_dbs`).
    PerUser(&'a ConfigRoot, &'static str),
    /// `require_valid_user` in the section where the server's version looks for it.
    RequireValidUser(&'a ConfigRoot, &'static str),
}

impl Resource<'_> {
    /// Whether it is something in the `_users` database.
    pub(super) fn is_in_users(&self) -> bool {
        matches!(
            self,
            Self::User(_)
                | Self::UserRevision(..)
                | Self::UserIds { .. }
                | Self::UsersByKey
                | Self::UsersBulk
                | Self::UsersAuthDesign
        )
    }

    /// The kind of thing that is asked for, without any name: a metric's label.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Self::Welcome => "welcome",
            Self::Session => "session",
            Self::Membership => "membership",
            Self::AllDatabases { .. } => "all_dbs",
            Self::Database(_) => "database",
            Self::System(_) => "system_database",
            Self::Security(_) => "security",
            Self::User(_) | Self::UserRevision(..) => "user",
            Self::UserIds { .. } | Self::UsersByKey => "users_all_docs",
            Self::UsersBulk => "users_bulk_docs",
            Self::UsersAuthDesign => "users_design",
            Self::Admins(_) | Self::Admin(..) | Self::AdminHash(..) => "config_admins",
            Self::PerUser(..) | Self::RequireValidUser(..) => "config",
        }
    }

    /// The path and query, percent-encoded, beginning with `/`.
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
            Self::UserIds { start, limit } => format!(
                "/_users/_all_docs?startkey={}&endkey={}&inclusive_end=false&limit={limit}",
                json_key(&format!("{USER_ID_PREFIX}{start}")),
                json_key(USERS_END),
            ),
            Self::UsersByKey => "/_users/_all_docs?include_docs=true".to_owned(),
            Self::UsersBulk => "/_users/_bulk_docs".to_owned(),
            Self::UsersAuthDesign => "/_users/_design/_auth".to_owned(),
            Self::Admins(root) => format!("{}/admins", root.path()),
            Self::Admin(root, admin) => format!("{}/admins/{}", root.path(), admin.as_str()),
            Self::AdminHash(root, admin) => format!("{}/admins/{}?raw=true", root.path(), admin.as_str()),
            Self::PerUser(root, key) => format!("{}/couch_peruser/{key}", root.path()),
            Self::RequireValidUser(root, section) => format!("{}/{section}/require_valid_user", root.path()),
        }
    }
}

fn all_databases(start: Option<&str>, limit: Option<usize>) -> String {
    let start = start.map(|name| format!("start_key={}", json_key(name)));
    let limit = limit.map(|count| format!("limit={count}"));
    let query: Vec<String> = start.into_iter().chain(limit).collect();
    if query.is_empty() { "/_all_dbs".to_owned() } else { format!("/_all_dbs?{}", query.join("&")) }
}

/// Whether a text can be one segment of a URL's path. To every URL parser `.` and `..` are steps to another path, also
/// when their dots are percent-encoded (WHATWG URL, "double-dot URL path segment").
fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// A key of a view query: JSON, then percent-encoded.
fn json_key(text: &str) -> String {
    encode(&serde_json::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

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
    fn what_a_server_names_cannot_lead_to_another_path() {
        for name in ["", ".", ".."] {
            assert_eq!(ListedDatabase::new(name.into()), None, "{name:?}");
            assert_eq!(NodeName::new(name), None, "{name:?}");
        }
        let encoded_already = NodeName::new("%2e%2e").unwrap();
        assert_eq!(
            Resource::Admins(&ConfigRoot::Node(encoded_already)).path(),
            "/_node/%252e%252e/_config/admins"
        );
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
        let node = ConfigRoot::Node(NodeName::new("couchdb@localhost").unwrap());
        assert_eq!(
            Resource::Admin(&node, ServerAdmin::Root).path(),
            "/_node/couchdb%40localhost/_config/admins/root"
        );
        assert_eq!(Resource::Admins(&ConfigRoot::Global).path(), "/_config/admins");
    }
}
