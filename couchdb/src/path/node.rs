//! The nodes of a CouchDB 2.x or later. What is kept for each node by itself (its configuration, its server administrators)
//! is asked for below its name.

use crate::path::encode::{encode, is_segment};

/// What CouchDB calls the node that is asked.
const LOCAL: &str = "_local";

/// A node, as its server names it: `couchdb@host`, or the node that is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(String);

impl Node {
    /// None for a name that no URL can hold.
    pub fn new(name: &str) -> Option<Self> {
        is_segment(name).then(|| Self(name.to_owned()))
    }

    /// The node that is asked, whatever its name is. 2.0 and 2.1 do not know it.
    pub fn local() -> Self {
        Self(LOCAL.to_owned())
    }

    /// The name as CouchDB spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path below which the node's own things are.
    pub(super) fn path(&self) -> String {
        format!("/_node/{}", encode(&self.0))
    }
}
