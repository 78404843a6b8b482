//! The parts of a path that don't come from a caller: listed databases, CouchDB's own databases, nodes, and
//! the accounts that the agent manages. Each is a valid segment of a path.

use trove_couchdb_protocol::DatabaseName;

use crate::path::{encode::is_segment, node::Node};

/// A database name from the server's list.
///
/// The name need not follow the rules for new databases (`DatabaseName`): other clients may have created it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListedDatabase(String);

impl ListedDatabase {
    /// `None` for a name that a URL can't contain. CouchDB can't have such a database.
    pub fn new(name: String) -> Option<Self> {
        is_segment(&name).then_some(Self(name))
    }

    /// The name in CouchDB's spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the database of the accounts.
    pub(crate) fn is_users(&self) -> bool {
        self.0 == SystemDatabase::Users.as_str()
    }
}

impl From<&DatabaseName> for ListedDatabase {
    fn from(name: &DatabaseName) -> Self {
        Self(name.as_str().to_owned())
    }
}

/// The two databases that CouchDB needs but does not create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemDatabase {
    /// `_users`, the authentication database.
    Users,
    /// `_replicator`, the replication documents.
    Replicator,
}

impl SystemDatabase {
    /// The name in CouchDB's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Users => "_users",
            Self::Replicator => "_replicator",
        }
    }
}

/// The server administrators that the agent manages. Other accounts of `[admins]` can't be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerAdmin {
    /// The agent's own account.
    OsAdmin,
    /// The account that Trove's root commands enable and disable.
    Root,
}

impl ServerAdmin {
    /// The account's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OsAdmin => "os_admin",
            Self::Root => "root",
        }
    }
}

/// The path of a server's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigRoot {
    /// CouchDB 1.x: `/_config`.
    Global,
    /// CouchDB 2.x and later: `/_node/NAME/_config`, usually with the alias `_local`.
    Node(Node),
}

impl ConfigRoot {
    /// The node of a 2.x or later.
    pub(crate) fn node(&self) -> Option<&Node> {
        match self {
            Self::Global => None,
            Self::Node(node) => Some(node),
        }
    }

    pub(crate) fn path(&self) -> String {
        match self {
            Self::Global => "/_config".to_owned(),
            Self::Node(node) => format!("{}/_config", node.path()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_server_names_cannot_lead_to_another_path() {
        for name in ["", ".", ".."] {
            assert_eq!(ListedDatabase::new(name.into()), None, "{name:?}");
            assert_eq!(Node::new(name), None, "{name:?}");
        }
        let encoded_already = Node::new("%2e%2e").unwrap();
        assert_eq!(ConfigRoot::Node(encoded_already).path(), "/_node/%252e%252e/_config");
    }
}
