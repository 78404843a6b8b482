//! Where a server keeps its configuration.

use reqwest::Method;

use crate::{
    Client, CouchError, Login, ServerVersion,
    path::{node::Node, resource::Resource, segment::ConfigRoot},
    reply::error::absent_is_none,
    server::nodes::Membership,
};

/// Finds where the server keeps its configuration.
///
/// 2.0 and 2.1 don't know the alias `_local`: there the node's own name stands in `/_membership`.
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
    // A 404 is also the answer where no `[admins]` section exists; then `_membership` names the same node.
    let membership = client.send(login, Method::GET, &Resource::Membership, None).await?;
    match Membership::from_answer(&membership).connected.into_iter().next() {
        Some(node) => Ok(ConfigRoot::Node(node)),
        None => Err(CouchError::Unexpected { what: "GET /_membership", problem: "it names no node".into() }),
    }
}
