//! What `prepare` requests in addition to databases, users and root.

use std::fmt;

use trove_couchdb_protocol::Quoted;

/// A request of `prepare` in addition to databases, users and root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Demand {
    /// Packages to install: `packages` of the datastore version.
    Packages(Vec<Quoted>),
    /// A data volume to format and mount. The text is `device_path`, such as `/dev/vdb`.
    Volume(Quoted),
    /// A backup to restore.
    Backup,
    /// Membership in a cluster.
    Cluster,
    /// Replication from another instance.
    Replica,
    /// Modules to apply.
    Modules,
}

impl Demand {
    pub(super) fn is_volume(&self) -> bool {
        matches!(self, Self::Volume(_))
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packages(names) => write!(formatter, "the packages {names:?}"),
            Self::Volume(device) => write!(formatter, "the data volume {device}"),
            Self::Backup => formatter.write_str("a backup to restore"),
            Self::Cluster => formatter.write_str("a cluster"),
            Self::Replica => formatter.write_str("a replica"),
            Self::Modules => formatter.write_str("modules"),
        }
    }
}

/// Demands that the agent ignores because the image meets them.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImageBrings {
    /// Packages are installed.
    pub packages: bool,
    /// The data volume is formatted and mounted.
    pub volume: bool,
}
