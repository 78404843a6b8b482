//! The service managers, behind one trait: what state a service is in, and how to change it.
//!
//! A back end does what it is told and reports what it sees. It decides nothing: whether a verb is allowed is `policy`'s to
//! say, and how long to wait for which state is `service`'s.

mod commands;
mod docker;
mod manager;
mod systemd;

use std::time::Duration;

use crate::policy::{Manager, ServicePolicy};
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
            let limits = commands::Limits { timeout: *timeout, output: *output_limit };
            Box::new(commands::Commands::new(start.clone(), stop.clone(), status.clone(), limits))
        }
    }
}

/// Between two looks at a service that changes.
pub(crate) const POLL: Duration = Duration::from_millis(100);
