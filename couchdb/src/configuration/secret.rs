//! The secret that signs sessions' cookies and the tokens of proxies. It is replaced, and never shown.

use reqwest::Method;
use serde_json::Value;
use trove_couchdb_protocol::Secret;

use crate::{
    Couch, CouchError, Resource,
    configuration::{
        nodes::ConfigNodes,
        option::{ConfigOption, Kind},
        table::live,
    },
};

/// Not in the table: only this module sets it.
pub(super) static SECRET: ConfigOption =
    live("chttpd_auth.secret", Kind::Text, (1, 6), "It signs sessions' cookies and the tokens of proxies.");

impl Couch {
    /// Replaces the secret on every node, which ends all sessions. The nodes of a cluster share it.
    pub async fn replace_secret(&self, nodes: &ConfigNodes, secret: &Secret) -> Result<(), CouchError> {
        for node in &nodes.connected {
            let resource = Resource::Setting(&node.root, SECRET.section_on(nodes.version), SECRET.key());
            self.send(Method::PUT, &resource, Some(&Value::from(secret.expose()))).await?;
        }
        Ok(())
    }
}
