//! `[prepare]`: what a new instance may ask for although the agent doesn't do it.

use crate::section::section;

/// The group of Trove's options for CouchDB. Those of `prepare` are our own; the file is injected whole, so they may stand
/// in the control plane's copy of it.
const COUCHDB: &str = "couchdb";

section! {
    /// What a new instance may ask for although the agent doesn't do it.
    #[derive(Debug, Clone, Copy)]
    pub struct PrepareSettings = "prepare" {
        /// Ignore the packages of the datastore version, for an image that includes CouchDB. Otherwise an instance
        /// that asks for packages fails, with the reason in `openstack database instance show`.
        ignore_packages: bool = "false", oslo [(COUCHDB, "ignore_packages")];
        /// Ignore the data volume, for an image that formats and mounts it itself or stores the data elsewhere.
        /// Otherwise an instance with a volume fails, because its data would not be on the volume that its owner
        /// pays for.
        ignore_volume: bool = "false", oslo [(COUCHDB, "ignore_volume")];
    }
}
