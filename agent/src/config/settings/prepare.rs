//! `[prepare]`: what a new instance may ask for although the agent doesn't do it.

use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};

/// The group of Trove's options for CouchDB. These two are our own; the file is injected whole, so they may stand in
/// the control plane's copy of it.
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
];

/// What a new instance may ask for although the agent doesn't do it.
#[derive(Debug, Clone, Copy)]
pub struct PrepareSettings {
    /// Packages are taken for installed.
    pub ignore_packages: bool,
    /// The volume is taken for mounted.
    pub ignore_volume: bool,
}

impl PrepareSettings {
    pub(super) fn from_input(input: Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            ignore_packages: input.flag("ignore_packages")?,
            ignore_volume: input.flag("ignore_volume")?,
        })
    }
}
