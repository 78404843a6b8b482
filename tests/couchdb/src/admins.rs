//! Plain server admin passwords and their delayed hashing.
//!
//! From 2.x on, hashing starts after the reply. Until it is finished the password can be read back and does
//! not log in. Of two PUTs in a row the first wins: its hash replaces the second's plain text, which is then
//! never hashed. Callers: the configuration route, and every start.

use std::sync::Arc;

use crate::keep;
use crate::node::Node;
use crate::passwords::hash_for_admin;

/// Whether a value of `[admins]` is plain text for this version and so will be hashed.
pub(crate) fn is_plain(node: &Node, value: &str) -> bool {
    if node.version.skips_dashed_admins() {
        return !value.starts_with('-');
    }
    !value.starts_with("-hashed-") && !value.starts_with("-pbkdf2-")
}

/// Hashes all plain admin passwords now, as CouchDB does at its start before it opens the port.
pub(crate) fn hash_all(node: &Node) {
    let plain: Vec<(String, String)> = {
        let state = node.state();
        let admins = state.config.section("admins").filter(|(_, value)| is_plain(node, value));
        admins.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    for (name, password) in plain {
        let hash = hash_for_admin(node.hashing(), &password);
        node.state().config.set("admins", &name, &hash, true);
    }
}

/// Hashes this password after the configured delay; stores the hash only if the admin's value is still plain.
pub(crate) fn hash_later(node: &Arc<Node>, name: &str, password: &str) {
    let (node, name, password) = (Arc::clone(node), name.to_owned(), password.to_owned());
    node.unhashed.send_modify(|waiting| *waiting += 1);
    let hashes = Arc::clone(&node);
    let mut last = hashes.last_hash.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let before = last.take();
    *last = Some(tokio::spawn(async move {
        tokio::time::sleep(node.options.admin_hash_delay).await;
        // CouchDB hashes all of them in one process, in the order of their changes.
        if let Some(before) = before {
            drop(before.await);
        }
        let hashing = node.hashing();
        let hash = tokio::task::spawn_blocking(move || hash_for_admin(hashing, &password)).await;
        if let Ok(hash) = hash {
            let mut state = node.state();
            if state.config.get("admins", &name).is_some_and(|value| is_plain(&node, value)) {
                state.config.set("admins", &name, &hash, true);
            }
            drop(state);
            // An error does no harm: the next change of anything writes the hash, and a start hashes plain
            // values.
            drop(keep::keep(&node));
        }
        node.unhashed.send_modify(|waiting| *waiting -= 1);
    }));
}
