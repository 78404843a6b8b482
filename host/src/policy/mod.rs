//! What root allows: `/etc/trove-couchdb-agent/host.toml`, checked and validated.
//!
//! The file is read again for every connection and every request, so a change counts at once. A file that others than
//! root could have written is worth nothing and is refused, as is one with an unknown key: a misspelt limit would
//! otherwise be none. `docs/hostd.md` describes each key, and a test compares.

mod file;
mod words;

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use trove_couchdb_protocol::host::{HostError, ServiceName, Verb};

pub use file::KEYS;
pub use words::{
    AbsolutePath, Arguments, ContainerName, DevicePattern, ImageName, ImageTag, PackageName, UnitName,
};

/// No policy is longer.
const MAX_SIZE: u64 = 64 * 1024;

/// Write permission for the group or for others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// There is no file, or it can't be read.
    #[error("{} can't be read: {source}; docs/hostd.md shows how to write it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An account other than root could have written it.
    #[error("{} {problem}; run: chown root {0} && chmod go-w {0}", path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Something in it is wrong.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What, where, and what to write instead.
        reason: String,
    },
}

impl From<PolicyError> for HostError {
    fn from(error: PolicyError) -> Self {
        Self::Policy { reason: error.to_string() }
    }
}

/// What root allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The program itself.
    pub hostd: HostdPolicy,
    /// The one service that may be touched.
    pub service: ServicePolicy,
    /// Block devices that may become CouchDB's volume, and where it is mounted. No verb uses it yet.
    pub volume: VolumePolicy,
    /// Packages that may be installed or upgraded. No verb uses it yet.
    pub packages: Vec<PackageName>,
    /// CouchDB's directories. No verb uses them yet.
    pub couchdb: CouchDbPolicy,
}

/// `[hostd]`
#[derive(Debug, Clone, PartialEq)]
pub struct HostdPolicy {
    /// The agent's account, by name or number: besides root the only one that is served.
    pub account: String,
    /// How long the program has no connection before it exits; systemd starts it again for the next connection.
    pub idle_exit: Duration,
    /// The most connections at once.
    pub max_connections: usize,
}

/// `[service]`
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePolicy {
    /// The name that requests use.
    pub name: ServiceName,
    /// The verbs that may be used on it, by name.
    pub allow: Vec<String>,
    /// The longest that an action, with the wait for its effect, may take.
    pub timeout: Duration,
    /// How long a service must go on running before it counts as started.
    pub settle: Duration,
    /// Who runs it.
    pub manager: Manager,
}

/// What runs the service.
#[derive(Debug, Clone, PartialEq)]
pub enum Manager {
    /// `[service.systemd]`
    Systemd {
        /// The unit.
        unit: UnitName,
    },
    /// `[service.docker]`, also for podman
    Docker {
        /// The Engine API's socket.
        socket: AbsolutePath,
        /// The container.
        container: ContainerName,
        /// The image that the container must have been made from.
        image: ImageName,
        /// Its tag.
        tag: ImageTag,
    },
    /// `[service.commands]`
    Commands {
        /// Starts the service and exits.
        start: Arguments,
        /// Stops it and exits.
        stop: Arguments,
        /// Exits with 0 if it runs, with 1, 2 or 3 if not (LSB).
        status: Arguments,
        /// How long each of them may run.
        timeout: Duration,
        /// How many bytes of what it prints are kept.
        output_limit: usize,
    },
}

/// `[volume]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumePolicy {
    /// Which block devices may be used.
    pub devices: Vec<DevicePattern>,
    /// Where the volume is mounted.
    pub mount_point: Option<AbsolutePath>,
}

/// `[couchdb]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CouchDbPolicy {
    /// CouchDB's ini files.
    pub configuration_dir: Option<AbsolutePath>,
    /// Databases and indexes.
    pub data_dir: Option<AbsolutePath>,
    /// Log files.
    pub log_dir: Option<AbsolutePath>,
}

impl Policy {
    /// Reads and validates the file, which must be root's. A process that is not root, in a test, may use its own files.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let unreadable = |source| PolicyError::Unreadable { path: path.to_owned(), source };
        // Judged by the open file: a name may come to mean a different file between two looks.
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        let not_safe = |problem: String| PolicyError::Unsafe { path: path.to_owned(), problem };
        if !metadata.is_file() {
            return Err(not_safe("is not a regular file".to_owned()));
        }
        if let Some(problem) = written_by_others(&metadata) {
            return Err(not_safe(problem));
        }
        // An account that can write to the directory can put an older file of root's in place of this one.
        let directory = path.parent().unwrap_or(path);
        let around = fs::metadata(directory).map_err(unreadable)?;
        if let Some(problem) = written_by_others(&around) {
            return Err(PolicyError::Unsafe { path: directory.to_owned(), problem });
        }
        let mut text = String::new();
        file.take(MAX_SIZE + 1).read_to_string(&mut text).map_err(unreadable)?;
        let invalid = |reason| PolicyError::Invalid { path: path.to_owned(), reason };
        if u64::try_from(text.len()).is_ok_and(|size| size > MAX_SIZE) {
            return Err(invalid(format!("it has more than {MAX_SIZE} bytes")));
        }
        text.parse().map_err(invalid)
    }

    /// Whether a verb may be used on a service; without a name on the one that there is.
    pub fn permits(&self, verb: Verb, service: Option<&ServiceName>) -> Result<&ServicePolicy, HostError> {
        let known = &self.service;
        if let Some(asked) = service.filter(|asked| **asked != known.name) {
            let what = format!("{} of service {asked}", verb.name());
            let advice = format!("its [service] is {}", known.name);
            return Err(HostError::NotAllowed { what, advice });
        }
        if !known.allow.iter().any(|allowed| allowed == verb.name()) {
            let what = format!("{} of service {}", verb.name(), known.name);
            let advice = format!("add {:?} to service.allow", verb.name());
            return Err(HostError::NotAllowed { what, advice });
        }
        Ok(known)
    }
}

/// Who else than root, or this process's own account, could have written something.
fn written_by_others(metadata: &fs::Metadata) -> Option<String> {
    let ours = rustix::process::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != ours {
        return Some(format!("belongs to uid {} and not to root", metadata.uid()));
    }
    let mode = metadata.mode() & 0o7777;
    (mode & WRITABLE_BY_OTHERS != 0)
        .then(|| format!("has mode {mode:04o}: others than its owner may write to it"))
}

#[cfg(test)]
pub(crate) mod tests;
