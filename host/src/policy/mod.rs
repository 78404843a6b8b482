//! Root's policy, `/etc/trove-couchdb-agent/host.toml`: reads and validates it.
//!
//! The file is read again for every connection and every request, so changes take effect at once. The program
//! refuses a file that accounts other than root can write, and a file with an unknown key: a misspelt limit
//! would be ignored otherwise. `docs/hostd.md` describes each key, and a test compares the two.

mod bounds;
mod file;
mod volume;
mod words;

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use trove_couchdb_protocol::host::{HostError, Section, ServiceName, Verb};

pub use file::KEYS;
pub use volume::VolumePolicy;
pub use words::{
    AbsolutePath, Arguments, ContainerName, DevicePattern, FileSystem, ImageName, ImageTag, MountOptions,
    PackageName, UnitName, VolumeLabel,
};

/// The maximum size of a policy.
const MAX_SIZE: u64 = 64 * 1024;

/// Write permission for the group or for others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The reason why the policy can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file is missing or can't be read.
    #[error("{} can't be read: {source}; docs/hostd.md shows how to write it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// An account other than root can write the file.
    #[error("{} {problem}; run: chown root {0} && chmod go-w {0}", path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The content is invalid.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The problem, its place, and the correct form.
        reason: String,
    },
}

impl From<PolicyError> for HostError {
    fn from(error: PolicyError) -> Self {
        Self::Policy { reason: error.to_string() }
    }
}

/// Root's policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Settings of the program itself.
    pub hostd: HostdPolicy,
    /// The only service that may be controlled.
    pub service: ServicePolicy,
    /// CouchDB's volume.
    pub volume: VolumePolicy,
    /// Packages that may be installed or upgraded. No verb uses it yet.
    pub packages: Vec<PackageName>,
    /// CouchDB's files.
    pub couchdb: CouchDbPolicy,
}

/// `[hostd]`
#[derive(Debug, Clone, PartialEq)]
pub struct HostdPolicy {
    /// The agent's account, by name or number. Only this account and root are served.
    pub account: String,
    /// The program exits when it has had no connection for this long. systemd starts it for the next
    /// connection.
    pub idle_exit: Duration,
    /// The directory of what must survive a crash of the program.
    pub state_dir: AbsolutePath,
    /// The maximum number of simultaneous connections.
    pub max_connections: usize,
}

/// `[service]`
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePolicy {
    /// The name of the service in requests.
    pub name: ServiceName,
    /// The allowed verbs, by name.
    pub allow: Vec<String>,
    /// The time limit for an action, including the wait for its effect.
    pub timeout: Duration,
    /// How long a service must keep running before it counts as started.
    pub settle: Duration,
    /// The manager of the service.
    pub manager: Manager,
}

/// The manager of the service.
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
        /// The image from which the container must have been created.
        image: ImageName,
        /// The image's tag.
        tag: ImageTag,
    },
    /// `[service.commands]`
    Commands {
        /// Starts the service and exits.
        start: Arguments,
        /// Stops the service and exits.
        stop: Arguments,
        /// Exits with 0 if the service runs, with 1, 2 or 3 if not (LSB).
        status: Arguments,
        /// The time limit for each of the programs.
        timeout: Duration,
        /// The maximum number of output bytes that are kept.
        output_limit: usize,
    },
}

/// `[couchdb]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CouchDbPolicy {
    /// The allowed verbs, by name.
    pub allow: Vec<String>,
    /// The directory of CouchDB's ini files. No verb uses it yet.
    pub configuration_dir: Option<AbsolutePath>,
    /// The directory of databases and indexes, on the volume if there is one.
    pub data_dir: Option<AbsolutePath>,
    /// CouchDB's log, if it writes one to a file.
    pub log_file: Option<AbsolutePath>,
}

impl Policy {
    /// Reads and validates the file, which must belong to root. A process that is not root, in a test, may
    /// use its own files.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let unreadable = |source| PolicyError::Unreadable { path: path.to_owned(), source };
        // Checks the open file, because the name may refer to a different file later.
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        let not_safe = |problem: String| PolicyError::Unsafe { path: path.to_owned(), problem };
        if !metadata.is_file() {
            return Err(not_safe("is not a regular file".to_owned()));
        }
        if let Some(problem) = written_by_others(&metadata) {
            return Err(not_safe(problem));
        }
        // An account that can write to the directory could restore an older file of root's.
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

    /// Checks whether a verb may be used, and on the named service. Without a name, this is the configured
    /// service.
    ///
    /// # Errors
    /// [`HostError::NotAllowed`] with what to add to the file.
    pub fn permits(&self, verb: &Verb, service: Option<&ServiceName>) -> Result<(), HostError> {
        let known = &self.service.name;
        if let Some(asked) = service.filter(|asked| *asked != known) {
            let what = format!("{} of service {asked}", verb.name());
            let advice = format!("its [service] is {known}");
            return Err(HostError::NotAllowed { what, advice });
        }
        let section = verb.section();
        let allowed = match section {
            Section::Service => &self.service.allow,
            Section::CouchDb => &self.couchdb.allow,
            Section::Volume => &self.volume.allow,
        };
        if !allowed.iter().any(|allowed| allowed == verb.name()) {
            let what = format!("{} of service {known}", verb.name());
            let advice = format!("add {:?} to {}.allow", verb.name(), section.name());
            return Err(HostError::NotAllowed { what, advice });
        }
        Ok(())
    }
}

/// Describes how an account other than root or this process's own could have written the file.
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
