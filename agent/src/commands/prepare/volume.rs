//! The data volume of a new guest: `trove-couchdb-hostd` makes it, moves CouchDB's data to it, and mounts it.
//!
//! Each step does nothing if it was done before, so that an interrupted `prepare` begins again with the first.

use std::path::{Path, PathBuf};

use trove_couchdb_protocol::{
    Failure,
    host::{DevicePath, HostError, Verb, VolumeState},
};

use super::{
    arguments::Prepare,
    failure::{PrepareError, PrepareStep, StepFailure},
};
use crate::{
    commands::{Guest, Run, RunError, server},
    host::HostFailure,
    system,
};

/// What has to be done about the data volume.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// None is ordered, or the image has mounted it.
    Nothing,
    /// The helper provides it.
    Provide(DevicePath),
    /// No helper that could provide it.
    Impossible,
}

/// Decides, and changes nothing.
pub(super) async fn plan(guest: &Guest, prepare: &Prepare, run: &Run<'_>) -> Result<Plan, PrepareError> {
    let is_ordered = prepare.demands.iter().any(super::Demand::is_volume);
    if !is_ordered || guest.image_brings.volume {
        return Ok(Plan::Nothing);
    }
    let failure = match (guest.host.absence(), &prepare.device) {
        (None, Some(device)) => match guest.host.volume(run.id, Verb::VolumeStatus).await {
            Ok(report) if report.state == VolumeState::Provided => return Ok(Plan::Nothing),
            Ok(_) => return Ok(Plan::Provide(device.clone())),
            Err(failure) => Some(failure),
        },
        _ => None,
    };
    if is_mounted(guest, prepare.mount_point.as_deref()).await {
        return Ok(Plan::Nothing);
    }
    match failure {
        // host.toml has no [volume]: the advice for what is missing names it.
        None | Some(HostFailure::Refused(HostError::NotAllowed { .. })) => Ok(Plan::Impossible),
        Some(failure) => Err(PrepareError::at(PrepareStep::Check)(of(RunError::Host(failure)))),
    }
}

/// Provides the volume. CouchDB is stopped for the move, and answers at the end.
pub(super) async fn provide(guest: &Guest, device: DevicePath, run: &Run<'_>) -> Result<(), PrepareError> {
    run.enter(PrepareStep::Format.name()).await;
    let made = on_volume(guest, run, Verb::VolumeFormat(device), PrepareStep::Format).await?;
    if made != VolumeState::Mounted {
        run.enter(PrepareStep::Move.name()).await;
        server::stop(guest, run, false).await.map_err(of).map_err(PrepareError::at(PrepareStep::Move))?;
        on_volume(guest, run, Verb::VolumeMoveData, PrepareStep::Move).await?;
    }
    run.enter(PrepareStep::Mount.name()).await;
    on_volume(guest, run, Verb::VolumeMount, PrepareStep::Mount).await?;
    server::start(guest, run).await.map_err(of).map_err(PrepareError::at(PrepareStep::Mount))
}

/// The failure of a command that is a step of `prepare`.
fn of(error: RunError) -> StepFailure {
    let (is_transient, is_outage) = (error.is_transient(), error.is_outage());
    StepFailure { message: Failure::from(error).message, is_transient, is_outage }
}

async fn on_volume(
    guest: &Guest,
    run: &Run<'_>,
    verb: Verb,
    step: PrepareStep,
) -> Result<VolumeState, PrepareError> {
    let asked = guest.host.volume(run.id, verb).await;
    asked.map(|report| report.state).map_err(|failure| PrepareError::at(step)(of(RunError::Host(failure))))
}

/// Whether an image has mounted something for CouchDB's data.
async fn is_mounted(guest: &Guest, mount_point: Option<&Path>) -> bool {
    let mut places: Vec<PathBuf> = mount_point.map(Path::to_owned).into_iter().collect();
    places.push(guest.couch.data_dir().await);
    let is_any = move || places.iter().any(|place| system::is_mount_point(place));
    system::blocking(is_any).await.unwrap_or_default()
}
