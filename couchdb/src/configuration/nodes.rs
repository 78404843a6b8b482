//! Reads and sets options on the nodes. Each node of a cluster has its own configuration.
//!
//! CouchDB applies a `PUT` in memory and writes it to the last file of its chain, also for an option that it
//! reads only at its start. So one way serves all options, and no file of the agent can contradict it.

use reqwest::Method;
use serde_json::Value;

use crate::{
    ConfigRoot, Couch, CouchError, Resource, ServerVersion,
    configuration::{option::ConfigOption, safety::Circumstances, secret::SECRET},
    path::node::Node,
    reply::error::absent_is_none,
};

/// The name of a server that has no nodes.
const ONLY: &str = "1.x";

/// A node, and the path of its configuration.
#[derive(Debug, Clone)]
pub struct ConfigNode {
    /// Its name in the cluster.
    pub name: String,
    pub(super) root: ConfigRoot,
}

/// The nodes of a server.
#[derive(Debug, Clone)]
pub struct ConfigNodes {
    /// The version of the node that answered.
    pub version: ServerVersion,
    /// The nodes that can be configured.
    pub connected: Vec<ConfigNode>,
    /// Nodes of the cluster that are not connected now.
    pub missing: Vec<String>,
}

impl Couch {
    /// The nodes of the server.
    pub async fn config_nodes(&self) -> Result<ConfigNodes, CouchError> {
        let server = self.server_now().await?;
        let version = server.version;
        if !version.has_nodes() {
            let only = ConfigNode { name: ONLY.to_owned(), root: server.config };
            return Ok(ConfigNodes { version, connected: vec![only], missing: Vec::new() });
        }
        let membership = self.membership().await?;
        let missing: Vec<_> = membership.missing().map(|node| node.as_str().to_owned()).collect();
        let is_connected = |node: &&Node| membership.connected.contains(node);
        let node = |node: &Node| ConfigNode { name: node.as_str().to_owned(), root: ConfigRoot::Node(node.clone()) };
        let connected = membership.cluster.iter().filter(is_connected).map(node).collect();
        Ok(ConfigNodes { version, connected, missing })
    }

    /// The value of an option on a node; `None` if it is not set there, so that CouchDB's default applies.
    pub async fn read_option(
        &self,
        node: &ConfigNode,
        option: &'static ConfigOption,
        version: ServerVersion,
    ) -> Result<Option<String>, CouchError> {
        self.read_setting(node, option.section_on(version), option.key()).await
    }

    pub(super) async fn read_setting(
        &self,
        node: &ConfigNode,
        section: &'static str,
        key: &'static str,
    ) -> Result<Option<String>, CouchError> {
        let set = absent_is_none(self.get(&Resource::Setting(&node.root, section, key)).await)?;
        Ok(set.as_ref().and_then(Value::as_str).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
    }

    /// Sets an option on a node, or with `None` takes it out.
    pub async fn set_option(
        &self,
        node: &ConfigNode,
        option: &'static ConfigOption,
        version: ServerVersion,
        value: Option<&str>,
    ) -> Result<(), CouchError> {
        let resource = Resource::Setting(&node.root, option.section_on(version), option.key());
        let set = match value {
            Some(value) => self.put(&resource, &Value::from(value)).await.map(drop),
            None => absent_is_none(self.send(Method::DELETE, &resource, None).await).map(drop),
        };
        match set {
            // CouchDB closes its port before it listens at the new address, and its answer may be lost.
            Err(error) if error.is_outage() && option.name == "chttpd.bind_address" => {
                self.wait_for_option(node, option, version, value).await.map_err(|_| error)
            }
            set => set,
        }
    }

    async fn wait_for_option(
        &self,
        node: &ConfigNode,
        option: &'static ConfigOption,
        version: ServerVersion,
        value: Option<&str>,
    ) -> Result<(), CouchError> {
        let deadline = tokio::time::Instant::now() + self.client.limits().request;
        loop {
            let read = self.read_option(node, option, version).await;
            match read {
                Ok(now) if now.as_deref() == value => return Ok(()),
                Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
                Ok(_) if tokio::time::Instant::now() >= deadline => return Err(CouchError::Conflict),
                _ => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
    }

    /// What the judgement of a node's configuration needs to know besides the options.
    pub async fn config_circumstances(
        &self,
        node: &ConfigNode,
        version: ServerVersion,
        with_rounds: bool,
    ) -> Result<Circumstances, CouchError> {
        let has_secret = self.read_setting(node, SECRET.section_on(version), SECRET.key()).await?.is_some();
        let rounds = if with_rounds { self.rounds_of_accounts(&node.root).await? } else { None };
        Ok(Circumstances { has_secret, host: self.client.host(), rounds })
    }
}
