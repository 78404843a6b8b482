//! Stores the state of a node in a file, for a machine whose services are killed and whose power fails.
//!
//! The whole state is written at each change: this stand-in has only a handful of documents, and must lose
//! nothing that it has confirmed. Callers: the first start, and `server` before it answers a request that may
//! have changed something.

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
struct Saved<Databases, Configuration> {
    databases: Databases,
    /// The values set over HTTP, unless an ini file has them.
    config: Option<Configuration>,
}

/// Writes the file, if the node has one; on an error the old file stays.
pub(crate) fn keep(node: &Node) -> Result<(), Error> {
    let Some(path) = &node.options.keep else {
        return Ok(());
    };
    // Under the lock, so that older state never replaces newer state.
    let mut state = node.state();
    let config = match &node.options.ini_dir {
        Some(dir) => {
            ini::keep(dir, &mut state.config)?;
            None
        }
        None => Some(&state.config),
    };
    let content = serde_json::to_vec(&Saved { databases: &state.databases, config })?;
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, content)?;
    std::fs::rename(fresh, path)
}

/// Loads the file into a node that never started; a missing file is treated as empty.
pub(crate) fn restore(node: &Node) -> Result<(), StartError> {
    let Some(path) = &node.options.keep else {
        return Ok(());
    };
    let unreadable = |error: Error| {
        let source = Error::new(error.kind(), format!("{}: {error}", path.display()));
        StartError::NotRestored { source }
    };
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(error)),
    };
    let saved: Saved<BTreeMap<String, Database>, Config> =
        serde_json::from_slice(&content).map_err(|error| unreadable(error.into()))?;
    let mut state = node.state();
    state.databases = saved.databases;
    state.config = saved.config.unwrap_or_default();
    Ok(())
}
