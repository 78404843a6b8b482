//! Finds out why CouchDB can't open databases: its answer is the same for a changed node name, for exhausted
//! file descriptors and for damaged files.
//!
//! Runs only after a failure, with at most seven requests. It reports only what it has checked.

use std::path::PathBuf;

use serde_json::Value;
use trove_couchdb_system as system;

use crate::{
    Couch, CouchError, ListedDatabase, Node, Resource, SystemDatabase,
    databases::listed_names,
    server::health::{Degraded, Impairment},
};

/// How many databases are opened as a sample. The databases in use are open, so the first few of all are
/// better than those of the failed request.
const SAMPLE: usize = 3;

/// A checked cause of failures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The databases' files are on this machine, and belong to a node of a different name.
    #[error(
        "CouchDB's node name has changed to {new}, and its databases belong to {old}: stop CouchDB, set -name {old} in its \
         vm.args, and start it"
    )]
    NodeRenamed {
        /// The node that holds the databases according to their shard maps.
        old: Node,
        /// The node that answers.
        new: Node,
    },
    /// The same, but the agent can't see the files: the old node may be a different machine.
    #[error(
        "CouchDB's databases belong to node {old}, which is not connected, and not to {new}: if the node name was changed, \
         stop CouchDB, set -name {old} in its vm.args, and start it; if {old} is a different node of the cluster, start \
         that"
    )]
    NodeAbsent {
        /// The node that holds the databases according to their shard maps.
        old: Node,
        /// The node that answers.
        new: Node,
    },
    /// CouchDB can't open a further file.
    #[error("CouchDB has no file descriptor left (emfile): raise LimitNOFILE of its service, and restart it")]
    NoFiles,
}

impl Cause {
    /// The effect on CouchDB's health.
    pub(crate) fn impairment(&self) -> Impairment {
        match self {
            Self::NodeRenamed { .. } | Self::NodeAbsent { .. } => Impairment::NodeRenamed,
            Self::NoFiles => Impairment::NoFiles,
        }
    }

    /// Whether the cause may disappear without intervention.
    pub(crate) fn may_end(&self) -> bool {
        matches!(self, Self::NoFiles | Self::NodeAbsent { .. })
    }
}

impl Couch {
    /// What keeps CouchDB from its work, if an error of a request shows it and it can be found out.
    pub async fn impairment(&self, error: &CouchError) -> Option<Degraded> {
        let cause = self.cause_of(error).await?;
        Some(Degraded { by: cause.impairment(), reason: cause.to_string() })
    }

    /// Why CouchDB failed with this error, if that can be found out.
    pub(crate) async fn cause_of(&self, error: &CouchError) -> Option<Cause> {
        if !error.may_be_of_its_files() {
            return None;
        }
        if error.is_out_of_files() {
            return Some(Cause::NoFiles);
        }
        let mut unopenable = None;
        for database in self.sample().await.ok()? {
            match self.get(&Resource::DatabaseInfo(&database)).await {
                Err(error) if error.is_out_of_files() => return Some(Cause::NoFiles),
                Err(error) if error.is_unopenable() => unopenable = Some(database),
                _ => {}
            }
        }
        self.renamed(&unopenable?).await
    }

    async fn sample(&self) -> Result<Vec<ListedDatabase>, CouchError> {
        let resource = Resource::AllDatabases { start: Some("a"), limit: Some(SAMPLE) };
        let mut names = listed_names(&self.get(&resource).await?)?;
        names.truncate(SAMPLE);
        names.push(SystemDatabase::Users.as_str().to_owned());
        Ok(names.into_iter().filter_map(ListedDatabase::new).collect())
    }

    /// The cause if the only node that holds this database is not connected. CouchDB 2 does not show its
    /// shard maps.
    async fn renamed(&self, database: &ListedDatabase) -> Option<Cause> {
        let membership = self.membership().await.ok()?;
        let [new] = membership.connected.as_slice() else { return None };
        let server = self.server().await.ok()?;
        let map = self.get(&Resource::ShardMap(server.config.node()?, database)).await.ok()?;
        let mut holders = map["by_node"].as_object()?.iter();
        let (Some((old, ranges)), None) = (holders.next(), holders.next()) else { return None };
        let old = membership.missing().find(|node| node.as_str() == old)?.clone();
        let files = shard_files(database, ranges, &map["shard_suffix"]);
        let has_files = match self.seen_data_dir().await {
            Some(directory) => {
                let seen = system::blocking(move || files.iter().any(|file| directory.join(file).exists()));
                seen.await.unwrap_or(false)
            }
            None => false,
        };
        let new = new.clone();
        Some(if has_files { Cause::NodeRenamed { old, new } } else { Cause::NodeAbsent { old, new } })
    }
}

/// The files of a database below the data directory. The suffix is a text as a list of its bytes.
fn shard_files(database: &ListedDatabase, ranges: &Value, suffix: &Value) -> Vec<PathBuf> {
    let bytes = suffix.as_array().into_iter().flatten().filter_map(|byte| u8::try_from(byte.as_u64()?).ok());
    let suffix = String::from_utf8(bytes.collect()).unwrap_or_default();
    let ranges = ranges.as_array().into_iter().flatten().filter_map(Value::as_str);
    let file = |range| PathBuf::from(format!("shards/{range}/{}{suffix}.couch", database.as_str()));
    ranges.map(file).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    /// From a 3.5.0.
    #[test]
    fn the_files_are_those_of_the_shard_map() {
        let map = json!({
            "_id": "a/b", "shard_suffix": [46, 49, 55, 57, 54, 48, 55, 50, 48, 50, 49],
            "by_node": {"couchdb@a": ["00000000-7fffffff", "80000000-ffffffff"]},
        });
        let name = ListedDatabase::new("a/b".to_owned()).unwrap();
        let files = shard_files(&name, &map["by_node"]["couchdb@a"], &map["shard_suffix"]);
        let expected = [
            "shards/00000000-7fffffff/a/b.1796072021.couch",
            "shards/80000000-ffffffff/a/b.1796072021.couch",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
    }

    #[test]
    fn the_way_back_is_named() {
        let (old, new) = (Node::new("couchdb@a").unwrap(), Node::new("couchdb@b").unwrap());
        let renamed = Cause::NodeRenamed { old: old.clone(), new: new.clone() }.to_string();
        assert!(
            renamed.contains("changed to couchdb@b") && renamed.contains("-name couchdb@a in"),
            "{renamed}"
        );
        let absent = Cause::NodeAbsent { old, new }.to_string();
        assert!(
            absent.contains("if the node name was changed") && absent.contains("-name couchdb@a in"),
            "{absent}"
        );
    }
}
