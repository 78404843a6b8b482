//! Plain server admin passwords, and the time that passes until they are hashed.
//!
//! Why so much for so little: from 2.x on the hashing starts after the reply. Until it is done the password can be read
//! back and does not log in, and of two PUTs in a row the first wins, because its hash is stored over the second's plain
//! text and is no plain text any more. Called by the configuration route and at each start.

use std::sync::Arc;

use crate::keep;
use crate::node::Node;
use crate::passwords::hash_for_admin;

/// Whether a value of `[admins]` is plain text for this version, and so will be hashed.
pub(crate) fn is_plain(node: &Node, value: &str) -> bool {
    if node.version.skips_dashed_admins() {
        return !value.starts_with('-');
    }
    !value.starts_with("-hashed-") && !value.starts_with("-pbkdf2-")
}

/// Hashes every plain admin password now, as a start does before it opens the port.
pub(crate) fn hash_all(node: &Node) {
    let plain: Vec<(String, String)> = {
        let state = node.state();
        let admins = state.config.section("admins").filter(|(_, value)| is_plain(node, value));
        admins.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    for (name, password) in plain {
        let hash = hash_for_admin(node.hashing, &password);
        node.state().config.set("admins", &name, &hash, true);
    }
}

/// Hashes this password after the configured delay, and stores the hash if the admin is then still a plain one.
pub(crate) fn hash_later(node: &Arc<Node>, name: &str, password: &str) {
    let (node, name, password) = (Arc::clone(node), name.to_owned(), password.to_owned());
    node.unhashed.send_modify(|waiting| *waiting += 1);
    let hashes = Arc::clone(&node);
    let mut last = hashes.last_hash.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let before = last.take();
    *last = Some(tokio::spawn(async move {
        tokio::time::sleep(node.options.admin_hash_delay).await;
        // One process of CouchDB hashes them all, in the order of their changes.
        if let Some(before) = before {
            drop(before.await);
        }
        let hashing = node.hashing;
        let hash = tokio::task::spawn_blocking(move || hash_for_admin(hashing, &password)).await;
        if let Ok(hash) = hash {
            let mut state = node.state();
            if state.config.get("admins", &name).is_some_and(|value| is_plain(&node, value)) {
                state.config.set("admins", &name, &hash, true);
            }
            drop(state);
            // The next change of anything would keep it, too, and a start hashes what is plain.
            drop(keep::keep(&node));
        }
        node.unhashed.send_modify(|waiting| *waiting -= 1);
    }));
}
