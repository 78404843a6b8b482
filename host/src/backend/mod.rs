//! The service managers behind a common trait, which reads and changes the state of a service.
//!
//! A back end only executes and reports. `policy` decides whether a verb is allowed, and `service` decides
//! how long to wait for which state.

mod commands;
mod docker;
mod manager;
mod systemd;

use std::time::Duration;

use crate::{
    policy::{Manager, ServicePolicy},
    program::Limits,
};
use trove_couchdb_protocol::host::{HostError, Lines};

pub use manager::{Answered, Backend, BackendError};

/// The back end for a service.
pub fn of(service: &ServicePolicy) -> Box<dyn Backend> {
    match &service.manager {
        Manager::Systemd { unit } => Box::new(systemd::Systemd::new(unit.clone())),
        Manager::Docker { socket, container, image, tag } => {
            let (socket, container) = (socket.clone(), container.clone());
            Box::new(docker::Docker::new(socket, container, format!("{image}:{tag}"), service.timeout))
        }
        Manager::Commands { start, stop, status, timeout, output_limit } => {
            let limits = Limits { timeout: *timeout, output: *output_limit };
            Box::new(commands::Commands::new(start.clone(), stop.clone(), status.clone(), limits))
        }
    }
}

/// The end of a container's log. Empty if the service is not a container.
///
/// # Errors
/// [`HostError::Backend`] if the engine does not answer.
pub async fn container_log(service: &ServicePolicy, lines: Lines) -> Result<Vec<u8>, HostError> {
    let Manager::Docker { socket, container, image, tag } = &service.manager else { return Ok(Vec::new()) };
    let (socket, container) = (socket.clone(), container.clone());
    let docker = docker::Docker::new(socket, container, format!("{image}:{tag}"), service.timeout);
    Ok(docker.log(lines).await?)
}

/// The interval between checks of a service that changes its state.
pub(crate) const POLL: Duration = Duration::from_millis(100);
