//! The nodes of a cluster, as seen by one of them.

use serde_json::Value;

use crate::{
    Couch, CouchError,
    path::{node::Node, resource::Resource},
};

/// An answer to `GET /_membership`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// The nodes to which the answering node is connected, including itself.
    pub connected: Vec<Node>,
    /// The nodes that belong to the cluster.
    pub cluster: Vec<Node>,
}

impl Membership {
    /// Reads the answer. A malformed list counts as empty.
    pub(crate) fn from_answer(answer: &Value) -> Self {
        let nodes = |key: &str| {
            let names = answer[key].as_array().into_iter().flatten();
            names.filter_map(|name| Node::new(name.as_str()?)).collect()
        };
        Self { connected: nodes("all_nodes"), cluster: nodes("cluster_nodes") }
    }

    /// The nodes of the cluster that are not connected.
    pub fn missing(&self) -> impl Iterator<Item = &Node> {
        self.cluster.iter().filter(|node| !self.connected.contains(node))
    }
}

impl Couch {
    /// The nodes of the cluster. 1.x has none and returns an error.
    pub async fn membership(&self) -> Result<Membership, CouchError> {
        Ok(Membership::from_answer(&self.get(&Resource::Membership).await?))
    }
}
