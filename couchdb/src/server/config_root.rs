//! The path of a server's configuration.

use reqwest::Method;

use crate::{
    Client, CouchError, Login, ServerVersion,
    path::{node::Node, resource::Resource, segment::ConfigRoot},
    reply::error::absent_is_none,
    server::nodes::Membership,
};

/// Determines the path of the server's configuration.
///
/// 2.0 and 2.1 don't know the alias `_local`; there the node's own name is taken from `/_membership`.
pub async fn config_root(
    client: &Client,
    login: Option<&Login>,
    version: ServerVersion,
) -> Result<ConfigRoot, CouchError> {
    if !version.has_nodes() {
        return Ok(ConfigRoot::Global);
    }
    let local = ConfigRoot::Node(Node::local());
    if absent_is_none(client.send(login, Method::GET, &Resource::Admins(&local), None).await)?.is_some() {
        return Ok(local);
    }
    // CouchDB also returns 404 if there is no `[admins]` section. `_membership` then names the same node.
    let membership = client.send(login, Method::GET, &Resource::Membership, None).await?;
    match Membership::from_answer(&membership).connected.into_iter().next() {
        Some(node) => Ok(ConfigRoot::Node(node)),
        None => Err(CouchError::Unexpected { what: "GET /_membership", problem: "it names no node".into() }),
    }
}
