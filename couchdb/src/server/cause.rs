//! Finds out why CouchDB can't open databases: its answer is the same for a changed node name, for exhausted
//! file descriptors and for damaged files.
//!
//! Runs only after a failure, with at most seven requests. It reports only what it has checked.

use std::{collections::BTreeSet, path::Path};

use trove_couchdb_system as system;

use crate::{
    Couch, CouchError, ListedDatabase, Node, Resource, SystemDatabase, databases::listed_names,
    server::health::Impairment,
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

    /// The cause if the only node that holds this database is not connected.
    async fn renamed(&self, database: &ListedDatabase) -> Option<Cause> {
        let membership = self.membership().await.ok()?;
        let [new] = membership.connected.as_slice() else { return None };
        let answer = self.get(&Resource::Shards(database)).await.ok()?;
        let shards = answer["shards"].as_object()?;
        let holders: BTreeSet<&str> =
            shards.values().filter_map(|nodes| nodes.as_array()).flatten().filter_map(|node| node.as_str()).collect();
        let mut holders = holders.into_iter();
        let (Some(old), None) = (holders.next(), holders.next()) else { return None };
        let old = membership.missing().find(|node| node.as_str() == old)?.clone();
        let ranges: Vec<String> = shards.keys().cloned().collect();
        let has_files = match self.seen_data_dir().await {
            Some(directory) => {
                let name = database.as_str().to_owned();
                let seen = system::blocking(move || {
                    ranges.iter().any(|range| has_shard(&directory.join("shards").join(range), &name))
                });
                seen.await.unwrap_or(false)
            }
            None => false,
        };
        let new = new.clone();
        Some(if has_files { Cause::NodeRenamed { old, new } } else { Cause::NodeAbsent { old, new } })
    }
}

/// Whether the directory of a range has a file of this database: `NAME.TIME.couch`. A name with slashes is a
/// path.
fn has_shard(range: &Path, name: &str) -> bool {
    let path = range.join(name);
    let (Some(parent), Some(last)) = (path.parent(), path.file_name().and_then(|last| last.to_str())) else {
        return false;
    };
    let is_shard = |file: &str| {
        let middle = file.strip_prefix(last).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".couch"));
        middle.is_some_and(|time| time.bytes().all(|byte| byte.is_ascii_digit()))
    };
    std::fs::read_dir(parent).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_shard))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_shard_is_found_by_name_and_time() {
        let range = tempfile::tempdir().unwrap();
        std::fs::create_dir(range.path().join("a")).unwrap();
        for file in ["shop.1600000000.couch", "shopping.1600000000.couch", "a/b.17.couch", "bar.couch.meta"] {
            std::fs::write(range.path().join(file), "").unwrap();
        }
        for (name, there) in [("shop", true), ("a/b", true), ("sho", false), ("b", false), ("bar", false)] {
            assert_eq!(has_shard(range.path(), name), there, "{name}");
        }
        assert!(!has_shard(&range.path().join("nowhere"), "shop"));
    }

    #[test]
    fn the_way_back_is_named() {
        let (old, new) = (Node::new("couchdb@a").unwrap(), Node::new("couchdb@b").unwrap());
        let renamed = Cause::NodeRenamed { old: old.clone(), new: new.clone() }.to_string();
        assert!(renamed.contains("changed to couchdb@b") && renamed.contains("-name couchdb@a in"), "{renamed}");
        let absent = Cause::NodeAbsent { old, new }.to_string();
        assert!(absent.contains("if the node name was changed") && absent.contains("-name couchdb@a in"), "{absent}");
    }
}
