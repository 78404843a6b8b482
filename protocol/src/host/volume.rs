//! The report of the verbs of CouchDB's volume.

use serde::{Deserialize, Serialize};

/// The volume after a verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeReport {
    /// Its state.
    pub state: VolumeState,
    /// The label by which it is found.
    pub label: String,
    /// Where it is mounted.
    pub mount_point: String,
    /// Its device, if it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The size of the device in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Where CouchDB's data were before they were moved; they are still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<String>,
    /// Why CouchDB must not be started, in words for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether the helper changed anything.
    pub changed: bool,
}

/// The state of the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeState {
    /// There is none: CouchDB's data are on the machine's own disk.
    None,
    /// It was made, and CouchDB's data are still on the machine's own disk.
    Made,
    /// It holds CouchDB's data and is not mounted.
    Unmounted,
    /// It holds CouchDB's data and is mounted.
    Mounted,
    /// It is not attached, or more than one device looks like it.
    Missing,
    /// Something that is not ours is mounted in its place, such as a volume of the image's.
    Provided,
}

impl VolumeState {
    /// The state as one word, as on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Made => "made",
            Self::Unmounted => "unmounted",
            Self::Mounted => "mounted",
            Self::Missing => "missing",
            Self::Provided => "provided",
        }
    }
}
