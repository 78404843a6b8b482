//! `[prepare]`: what a new instance may ask for although the agent doesn't do it.

use crate::section::section;

/// The group of Trove's options for CouchDB. Those of `prepare` are our own; the file is injected whole, so they may stand
/// in the control plane's copy of it.
const COUCHDB: &str = "couchdb";

section! {
    /// What a new instance may ask for although the agent doesn't do it.
    #[derive(Debug, Clone, Copy)]
    pub struct PrepareSettings = "prepare" {
        /// Pass over the packages of the datastore version, for an image that has CouchDB. Otherwise an instance
        /// that asks for packages fails, with the reason in `openstack database instance show`.
        ignore_packages: bool = "false", oslo [(COUCHDB, "ignore_packages")];
        /// Pass over the data volume, for an image that formats and mounts it, or keeps the data elsewhere.
        /// Otherwise an instance with a volume fails: its data would not be where its owner pays for it.
        ignore_volume: bool = "false", oslo [(COUCHDB, "ignore_volume")];
    }
}
