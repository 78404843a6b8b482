//! The task that works on the volume: this program, started by hostd as root with the devices that hostd itself
//! lacks. It reads `host.toml` itself, does one verb, and writes the outcome to its standard output.

use std::path::Path;

use trove_couchdb_protocol::host::{HostError, Outcome, Verb, VolumeReport};

use super::{Work, context::Volume, format, grow, mount, move_data, tools::refused};
use crate::policy::Policy;

/// Does what `text`, a [`Work`] as JSON, asks for. Returns the outcome as JSON.
pub async fn run(policy: &Path, text: &str) -> String {
    let outcome: Outcome<VolumeReport> = perform(policy, text).await.into();
    serde_json::to_string(&outcome).unwrap_or_default()
}

async fn perform(policy: &Path, text: &str) -> Result<VolumeReport, HostError> {
    let policy = Policy::load(policy)?;
    let work: Work =
        serde_json::from_str(text).map_err(|error| HostError::Malformed { reason: error.to_string() })?;
    policy.permits(&work.verb, None)?;
    let volume = Volume::of(&policy, work.is_stopped)?;
    if work.verb == Verb::VolumeStatus {
        return volume.report(false).await;
    }
    let lock = volume.lock()?;
    volume.clear_staging().await?;
    let changed = match &work.verb {
        Verb::VolumeFormat(hint) => format::format(&volume, hint).await?,
        Verb::VolumeMoveData => move_data::move_data(&volume).await?,
        Verb::VolumeMount => mount::mount(&volume).await?,
        Verb::VolumeUnmount => mount::unmount(&volume).await?,
        Verb::VolumeGrow => grow::grow(&volume).await?,
        other => return Err(refused(format!("{} is not about a volume", other.name()))),
    };
    let report = volume.report(changed).await;
    drop(lock);
    report
}
