//! `[prepare]`: what a new instance may ask for although the agent doesn't do it.

use std::time::Duration;

use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};

/// The group of Trove's options for CouchDB. Those of `prepare` are our own; the file is injected whole, so they may stand
/// in the control plane's copy of it.
const COUCHDB: &str = "couchdb";

pub(in crate::config) const KEYS: &[Key] = &[
    Key::new(
        "prepare.ignore_packages",
        Kind::Flag,
        "Pass over the packages of the datastore version, for an image that has CouchDB. Otherwise an instance that \
         asks for packages fails, with the reason in `openstack database instance show`.",
    )
    .default("false")
    .oslo(&[(COUCHDB, "ignore_packages")]),
    Key::new(
        "prepare.ignore_volume",
        Kind::Flag,
        "Pass over the data volume, for an image that formats and mounts it, or keeps the data elsewhere. Otherwise \
         an instance with a volume fails: its data would not be where its owner pays for it.",
    )
    .default("false")
    .oslo(&[(COUCHDB, "ignore_volume")]),
    Key::new(
        "prepare.lost_after",
        Kind::Seconds,
        "When the broker is reached, how long a `prepare` that was under way when the agent ended may take to come \
         again, before the instance is told to have failed. A queue that is not durable loses it with the broker; \
         a durable one delivers it when the dead connection is noticed, so keep this above twice broker.heartbeat.",
    )
    .default("180"),
];

/// What a new instance may ask for although the agent doesn't do it.
#[derive(Debug, Clone, Copy)]
pub struct PrepareSettings {
    /// Packages are taken for installed.
    pub ignore_packages: bool,
    /// The volume is taken for mounted.
    pub ignore_volume: bool,
    /// The time in which an interrupted `prepare` must come again.
    pub lost_after: Duration,
}

impl PrepareSettings {
    pub(super) fn from_input(input: Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            ignore_packages: input.flag("ignore_packages")?,
            ignore_volume: input.flag("ignore_volume")?,
            lost_after: input.seconds("lost_after", 1.0..=1500.0)?,
        })
    }
}
