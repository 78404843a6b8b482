//! The actions of the helper.

use serde::{Deserialize, Serialize};

use super::{DevicePath, Lines};

/// An action of the helper. Each belongs to one [`Section`] of `host.toml`, whose `allow` must name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verb {
    /// Report the state of the service.
    ServiceStatus,
    /// Start the service. Does nothing if it is running.
    ServiceStart,
    /// Stop the service. Does nothing if it is stopped.
    ServiceStop,
    /// Stop the service if it is running, then start it.
    ServiceRestart,
    /// Wait until the service is in this state.
    ServiceWait(Wanted),
    /// Report the last lines of CouchDB's log.
    LogTail(Lines),
    /// Report CouchDB's volume.
    VolumeStatus,
    /// Make the volume's file system on this device, if it is empty. Does nothing if it was made before.
    VolumeFormat(DevicePath),
    /// Copy CouchDB's data to the volume, compare, and switch. Does nothing if that was done before.
    VolumeMoveData,
    /// Mount the volume. Does nothing if it is mounted.
    VolumeMount,
    /// Unmount the volume. Does nothing if it is not mounted.
    VolumeUnmount,
    /// Let the volume's file system fill its device.
    VolumeGrow,
}

/// The section of `host.toml` that allows a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `[service]`: CouchDB's process.
    Service,
    /// `[couchdb]`: CouchDB's files.
    CouchDb,
    /// `[volume]`: the block device of CouchDB's data.
    Volume,
}

impl Section {
    /// The name in `host.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::CouchDb => "couchdb",
            Self::Volume => "volume",
        }
    }
}

impl Verb {
    /// The verbs that a section may allow, by name.
    pub fn names_of(section: Section) -> &'static [&'static str] {
        match section {
            Section::Service => {
                &["service-status", "service-start", "service-stop", "service-restart", "service-wait"]
            }
            Section::CouchDb => &["log-tail"],
            Section::Volume => &[
                "volume-status",
                "volume-format",
                "volume-move-data",
                "volume-mount",
                "volume-unmount",
                "volume-grow",
            ],
        }
    }

    /// The name on the wire, in `allow` and in the audit log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ServiceStatus => "service-status",
            Self::ServiceStart => "service-start",
            Self::ServiceStop => "service-stop",
            Self::ServiceRestart => "service-restart",
            Self::ServiceWait(_) => "service-wait",
            Self::LogTail(_) => "log-tail",
            Self::VolumeStatus => "volume-status",
            Self::VolumeFormat(_) => "volume-format",
            Self::VolumeMoveData => "volume-move-data",
            Self::VolumeMount => "volume-mount",
            Self::VolumeUnmount => "volume-unmount",
            Self::VolumeGrow => "volume-grow",
        }
    }

    /// The section whose `allow` must name the verb.
    pub fn section(&self) -> Section {
        match self {
            Self::ServiceStatus
            | Self::ServiceStart
            | Self::ServiceStop
            | Self::ServiceRestart
            | Self::ServiceWait(_) => Section::Service,
            Self::LogTail(_) => Section::CouchDb,
            Self::VolumeStatus
            | Self::VolumeFormat(_)
            | Self::VolumeMoveData
            | Self::VolumeMount
            | Self::VolumeUnmount
            | Self::VolumeGrow => Section::Volume,
        }
    }

    /// Whether it may take as long as the amount of data needs, up to a limit in `host.toml`.
    pub fn is_long(&self) -> bool {
        matches!(self, Self::VolumeFormat(_) | Self::VolumeMoveData | Self::VolumeGrow)
    }
}

/// A state to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// The service is running.
    Running,
    /// No process of the service is left.
    Stopped,
}

impl Wanted {
    /// The state as one word, as on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }

    /// The state with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Running, Self::Stopped].into_iter().find(|state| state.word() == word)
    }
}
