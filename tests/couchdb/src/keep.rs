//! What a node holds, in a file: for a server of a machine whose services are killed and whose power goes.
//!
//! Why whole and at each change: it is a stand-in with a handful of documents, and one that loses nothing it has confirmed.
//! Called at the first start, and by `server` before the answer to whatever may have changed something.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::database::Database;
use crate::ini;
use crate::node::Node;
use crate::options::StartError;

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept<Databases, Configuration> {
    databases: Databases,
    /// What was set over HTTP, unless an ini file has it.
    config: Option<Configuration>,
}

/// Writes the file, if the node has one; on an error the old one stays.
pub(crate) fn keep(node: &Node) -> Result<(), Error> {
    let Some(path) = &node.options.keep else {
        return Ok(());
    };
    // Under the lock, so that no older state is written over a newer one.
    let mut state = node.state();
    let config = match &node.options.ini_dir {
        Some(dir) => {
            ini::keep(dir, &mut state.config)?;
            None
        }
        None => Some(&state.config),
    };
    let content = serde_json::to_vec(&Kept { databases: &state.databases, config })?;
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, content)?;
    std::fs::rename(fresh, path)
}

/// Gives a node that never started what the file holds; a file that is not there yet is an empty one.
pub(crate) fn restore(node: &Node) -> Result<(), StartError> {
    let Some(path) = &node.options.keep else {
        return Ok(());
    };
    let unreadable = |error: Error| {
        let source = Error::new(error.kind(), format!("{}: {error}", path.display()));
        StartError::Kept { source }
    };
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(error)),
    };
    let kept: Kept<BTreeMap<String, Database>, Config> =
        serde_json::from_slice(&content).map_err(|error| unreadable(error.into()))?;
    let mut state = node.state();
    state.databases = kept.databases;
    state.config = kept.config.unwrap_or_default();
    Ok(())
}
