//! `[prepare]`: what a new instance may ask for although the agent doesn't do it.

use std::time::Duration;

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
        /// When the broker is reached, how long a `prepare` that was under way when the agent ended may take to
        /// come again, before the instance is told to have failed. A queue that is not durable loses it with the
        /// broker; a durable one delivers it when the dead connection is noticed, so keep this above twice
        /// broker.heartbeat.
        lost_after: Duration = "180", in 1.0..=1500.0;
    }
}
