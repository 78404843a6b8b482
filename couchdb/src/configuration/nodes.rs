//! Reads and sets options on the nodes. Each node of a cluster has its own configuration.
//!
//! CouchDB applies a `PUT` in memory and writes it to the last file of its chain, also for an option that it
//! reads only at its start. So one way serves all options, and no file of the agent can contradict it.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use trove_couchdb_protocol::Secret;

use crate::{
    ConfigRoot, Couch, CouchError, Resource, ServerVersion,
    configuration::{
        option::{ConfigOption, Kind, live},
        safety::Circumstances,
    },
    path::node::Node,
    reply::error::absent_is_none,
};

/// It signs sessions' cookies and the tokens of proxies. Not in the table: only this module sets it, and it is
/// never shown.
static SECRET: ConfigOption = live("chttpd_auth.secret", Kind::Text, (1, 6), "It signs sessions' cookies.");

const ADDRESS: &str = "chttpd.bind_address";

/// CouchDB ends if its port is opened again more than three times in ten seconds (`chttpd_sup.erl`; seen with 3.3
/// and 3.5).
const BETWEEN_ADDRESSES: Duration = Duration::from_secs(4);

/// CouchDB's name for the handler for proxies in `GET /_session`.
const PROXY: &str = "proxy";

/// The name of a server that has no nodes.
const ONLY: &str = "1.x";

/// A node, and the path of its configuration.
#[derive(Debug, Clone)]
pub struct ConfigNode {
    /// Its name in the cluster.
    pub name: String,
    root: ConfigRoot,
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
        let node =
            |node: &Node| ConfigNode { name: node.as_str().to_owned(), root: ConfigRoot::Node(node.clone()) };
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
        let resource = Resource::Setting(&node.root, option.section_on(version), option.key());
        let set = absent_is_none(self.get(&resource).await)?;
        Ok(set
            .as_ref()
            .and_then(Value::as_str)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty()))
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
        if option.name != ADDRESS {
            return set;
        }
        let set = match set {
            // CouchDB closes its port before it listens at the new address, and its answer may be lost.
            Err(error) if error.is_outage() => {
                self.wait_for_option(node, option, version, value).await.map_err(|_| error)
            }
            set => set,
        };
        tokio::time::sleep(BETWEEN_ADDRESSES).await;
        set
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
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Replaces the secret on every node, which ends all sessions. The nodes of a cluster share it.
    pub async fn replace_secret(&self, nodes: &ConfigNodes, secret: &Secret) -> Result<(), CouchError> {
        for node in &nodes.connected {
            self.set_option(node, &SECRET, nodes.version, Some(secret.expose())).await?;
        }
        Ok(())
    }

    /// What the judgement of a node's configuration needs to know besides the options.
    pub async fn config_circumstances(
        &self,
        node: &ConfigNode,
        version: ServerVersion,
        with_rounds: bool,
    ) -> Result<Circumstances, CouchError> {
        let has_secret = self.read_option(node, &SECRET, version).await?.is_some();
        let rounds = if with_rounds { self.rounds_of_accounts(&node.root).await? } else { None };
        let session = self.get(&Resource::Session).await?;
        let handlers = session["info"]["authentication_handlers"].as_array().into_iter().flatten();
        let runs_proxy_handler = handlers.filter_map(Value::as_str).any(|handler| handler == PROXY);
        Ok(Circumstances { runs_proxy_handler, has_secret, host: self.client.host(), rounds })
    }
}
