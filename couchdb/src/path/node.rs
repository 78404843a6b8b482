//! The nodes of a CouchDB 2.x or later. The data that each node keeps separately (its configuration and
//! server administrators) has paths below the node's name.

use std::fmt;

use crate::path::encode::{encode, is_segment};

/// CouchDB's alias for the node that receives the request.
const LOCAL: &str = "_local";

/// A node: its name as `couchdb@host`, or the alias of the node that receives the request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(String);

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Node {
    /// `None` for a name that a URL can't contain.
    pub fn new(name: &str) -> Option<Self> {
        is_segment(name).then(|| Self(name.to_owned()))
    }

    /// The node that receives the request. 2.0 and 2.1 do not know this alias.
    pub fn local() -> Self {
        Self(LOCAL.to_owned())
    }

    /// The name in CouchDB's spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The base path of the node's own data.
    pub(super) fn path(&self) -> String {
        format!("/_node/{}", encode(&self.0))
    }
}
