//! CouchDB's volume: a block device with a file system of ours, which holds CouchDB's data.
//!
//! ```text
//!                       volume-format        volume-move-data                           volume-mount
//! an empty device ──► formatting ─► formatted ──► copying ─► switching ─► moved ──────────► in use
//!                                                   │           │
//!   the copy is compared with the data, byte by byte┘           └ the old directory is renamed: CouchDB can't
//!                                                                 be started on it any more
//! ```
//!
//! hostd's sandbox has no device, so the work is done by this program as a [task](worker), in a transient unit
//! of its own. The task [records](record) each step before it takes it, on the machine's own disk: what was
//! interrupted at any point can be asked for again. A device is formatted only if it is empty, or if the record
//! says that it was empty and that its format was interrupted.
//!
//! The volume is found by its label within the devices that `host.toml` names, and holds a [marker](marker) once
//! it holds CouchDB's data. A rebuilt machine has no record and knows the volume by these two.

mod context;
mod device;
mod format;
mod grow;
mod marker;
mod mount;
mod mounts;
mod move_data;
mod probe;
mod record;
mod tools;
mod unit;
pub mod worker;

use std::{ffi::OsString, path::Path};

use serde::{Deserialize, Serialize};
use trove_couchdb_protocol::host::{HostError, Outcome, Verb, VolumeReport, VolumeState, Wanted};

use crate::{
    backend,
    changes::Changes,
    policy::Policy,
    program::Limits,
    task::{Task, arguments},
};

/// The task may mount, copy files of any owner, and grow a file system that is mounted (`CAP_SYS_RESOURCE`).
const PROPERTIES: [&str; 9] = [
    "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_MKNOD CAP_SETFCAP CAP_SYS_RESOURCE",
    "DevicePolicy=closed",
    "DeviceAllow=block-* rw",
    "PrivateNetwork=yes",
    "RestrictAddressFamilies=AF_UNIX",
    "ProtectSystem=full",
    // For the units of the mount.
    "ReadWritePaths=/etc/systemd/system",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
];

/// The limit of a verb that does not depend on the amount of data.
const SHORT: std::time::Duration = std::time::Duration::from_secs(60);

/// How often a task that still runs is looked for.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(500);

/// How systemd refuses a transient unit whose name is taken.
const STILL_RUNS: &str = "was already loaded";

/// What the task is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// A verb of `[volume]`.
    pub verb: Verb,
    /// Whether CouchDB is known to be stopped.
    pub is_stopped: bool,
}

/// Executes a verb of `[volume]` that the policy permits.
///
/// # Errors
/// [`HostError::Volume`] if the volume or a device is not as it must be; then nothing was changed.
/// [`HostError::Task`] if a program failed.
pub async fn perform(
    policy: &Policy,
    file: &Path,
    verb: &Verb,
    changes: &Changes,
) -> Result<VolumeReport, HostError> {
    let _change = if *verb == Verb::VolumeStatus { None } else { Some(changes.begin(verb)?) };
    let needs_a_stop = matches!(verb, Verb::VolumeMoveData | Verb::VolumeMount | Verb::VolumeUnmount);
    let is_stopped = needs_a_stop && is_stopped(policy).await?;
    let report = run(policy, file, &Work { verb: verb.clone(), is_stopped }).await?;
    if *verb == Verb::VolumeMoveData && report.changed && !self::is_stopped(policy).await? {
        let reason = format!(
            "CouchDB was started while its data were moved, and may have written to {}; stop it, and compare that with the \
             volume before you mount it",
            report.moved_from.as_deref().unwrap_or_default()
        );
        return Err(HostError::Task { program: verb.name().to_owned(), reason });
    }
    Ok(report)
}

/// Refuses to start CouchDB on the directory below the mount point. systemd's own dependency does so for a
/// unit; nothing else does for a container, or for a machine without systemd.
///
/// # Errors
/// [`HostError::Volume`] with what is missing.
pub async fn must_be_mounted(policy: &Policy, file: &Path) -> Result<(), HostError> {
    if policy.volume.allow.is_empty() {
        return Ok(());
    }
    let work = Work { verb: Verb::VolumeStatus, is_stopped: false };
    let report = run(policy, file, &work).await?;
    match report.problem {
        Some(problem) if matches!(report.state, VolumeState::Unmounted | VolumeState::Missing) => {
            Err(HostError::Volume { reason: format!("{problem}; CouchDB is not started without its data") })
        }
        _ => Ok(()),
    }
}

async fn is_stopped(policy: &Policy) -> Result<bool, HostError> {
    Ok(backend::of(&policy.service).look().await?.state.is(Wanted::Stopped))
}

/// Runs this program as the task, and waits for one of an earlier hostd to end first.
async fn run(policy: &Policy, file: &Path, work: &Work) -> Result<VolumeReport, HostError> {
    let text = serde_json::to_string(work).map_err(|error| defect(&error))?;
    let program = std::env::current_exe().map_err(|error| defect(&error))?;
    // The program was replaced by an upgrade.
    let program = program.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
    let timeout = if work.verb.is_long() { policy.volume.timeout } else { SHORT };
    loop {
        let task = Task {
            name: work.verb.name(),
            program: Path::new(&program),
            arguments: [arguments(["--volume", &text, "--policy"]), vec![OsString::from(file)]].concat(),
            environment: &[],
            properties: &PROPERTIES,
            input: None,
            limits: Limits { timeout, output: 32 * 1024 },
        };
        match task.output().await {
            Err(HostError::Task { reason, .. }) if reason.contains(STILL_RUNS) => {
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(error),
            Ok(answer) => {
                return match serde_json::from_slice(&answer).map_err(|error| defect(&error))? {
                    Outcome::Done(report) => Ok(report),
                    Outcome::Failed(error) => Err(error),
                };
            }
        }
    }
}

fn defect(error: &dyn std::error::Error) -> HostError {
    HostError::Task { program: "trove-couchdb-hostd --volume".to_owned(), reason: error.to_string() }
}
