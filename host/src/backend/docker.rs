//! A container of Docker or podman, over the Engine API.
//!
//! Root creates the container; this module starts and stops it. A container of a different image than
//! `host.toml` names is refused, so that its name alone is not sufficient.

use std::time::Duration;

use bollard::{
    API_DEFAULT_VERSION,
    errors::Error,
    models::ContainerInspectResponse,
    query_parameters::{
        InspectContainerOptions, LogsOptions, RestartContainerOptions, StartContainerOptions,
        StopContainerOptions,
    },
};
use futures_util::{FutureExt, StreamExt};
use trove_couchdb_protocol::host::{Lines, Observed, State};

use super::manager::{Answered, Backend, BackendError};
use crate::{
    one_line::one_line,
    policy::{AbsolutePath, ContainerName},
};

/// The engine's wait after SIGTERM before it sends SIGKILL. CouchDB stops in a second or two.
const STOP_GRACE: i32 = 20;

/// The status of `start` and `stop` if nothing changes.
const NOT_MODIFIED: u16 = 304;

/// One container.
#[derive(Debug)]
pub(super) struct Docker {
    socket: AbsolutePath,
    container: ContainerName,
    image: String,
    timeout: Duration,
}

impl Docker {
    pub(super) fn new(
        socket: AbsolutePath,
        container: ContainerName,
        image: String,
        timeout: Duration,
    ) -> Self {
        Self { socket, container, image, timeout }
    }

    async fn engine(&self) -> Result<bollard::Docker, BackendError> {
        let path = self.socket.as_path().display().to_string();
        let unreachable = |error: Error| {
            failed(format!("the engine at {path} does not answer ({error}); check that it runs"))
        };
        let seconds = self.timeout.as_secs().max(1);
        let engine =
            bollard::Docker::connect_with_unix(&path, seconds, API_DEFAULT_VERSION).map_err(unreachable)?;
        // An older engine rejects a newer version of the API.
        engine.negotiate_version().await.map_err(unreachable)
    }

    /// The container, if it was created from the configured image.
    async fn inspect(&self, engine: &bollard::Docker) -> Result<ContainerInspectResponse, BackendError> {
        let found = engine.inspect_container(self.container.as_str(), None::<InspectContainerOptions>).await;
        let found = found.map_err(|error| match error {
            Error::DockerResponseServerError { status_code: 404, .. } => {
                let (container, image) = (&self.container, &self.image);
                failed(format!("there is no container {container:?}; create it from {image}"))
            }
            other => refused(other),
        })?;
        let image = found.config.as_ref().and_then(|config| config.image.as_deref()).unwrap_or_default();
        if short(image) == short(&self.image) {
            return Ok(found);
        }
        let (container, expected) = (&self.container, &self.image);
        let made = one_line(image);
        Err(failed(format!(
            "container {container} was made from {made}, and host.toml allows {expected}; correct one of them"
        )))
    }

    async fn see(&self) -> Result<Observed, BackendError> {
        let engine = self.engine().await?;
        let found = self.inspect(&engine).await?;
        let state = found.state.unwrap_or_default();
        let status = state.status.map(|status| status.to_string()).unwrap_or_default();
        let exit_code = state.exit_code.unwrap_or_default();
        let (restarting, running) = (state.restarting.unwrap_or_default(), state.running.unwrap_or_default());
        let id: String = found.id.unwrap_or_default().chars().take(12).collect();
        Ok(Observed {
            state: state_of(running, restarting, state.paused.unwrap_or_default(), exit_code),
            detail: one_line(&format!("{status}, exit code {exit_code}")),
            main_pid: state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0),
            instance: state.started_at.map(|started| one_line(&format!("{id} {started}"))),
        })
    }

    /// The last lines of both outputs.
    pub(super) async fn log(&self, lines: Lines) -> Result<Vec<u8>, BackendError> {
        let engine = self.engine().await?;
        self.inspect(&engine).await?;
        let options =
            LogsOptions { stdout: true, stderr: true, tail: lines.count().to_string(), ..Default::default() };
        let mut log = engine.logs(self.container.as_str(), Some(options));
        let mut text = Vec::new();
        while let Some(part) = log.next().await {
            text.extend_from_slice(&part.map_err(refused)?.into_bytes());
        }
        Ok(text)
    }

    async fn start_it(&self) -> Result<(), BackendError> {
        let engine = self.engine().await?;
        self.inspect(&engine).await?;
        done(engine.start_container(self.container.as_str(), None::<StartContainerOptions>).await)
    }

    async fn stop_it(&self) -> Result<(), BackendError> {
        let engine = self.engine().await?;
        self.inspect(&engine).await?;
        let options = StopContainerOptions { t: Some(STOP_GRACE), ..Default::default() };
        done(engine.stop_container(self.container.as_str(), Some(options)).await)
    }

    async fn restart_it(&self) -> Result<(), BackendError> {
        let engine = self.engine().await?;
        self.inspect(&engine).await?;
        let options = RestartContainerOptions { t: Some(STOP_GRACE), ..Default::default() };
        done(engine.restart_container(self.container.as_str(), Some(options)).await)
    }
}

impl Backend for Docker {
    fn look(&self) -> Answered<'_, Observed> {
        self.see().boxed()
    }

    fn start(&self) -> Answered<'_, ()> {
        self.start_it().boxed()
    }

    fn stop(&self) -> Answered<'_, ()> {
        self.stop_it().boxed()
    }

    fn restart(&self) -> Option<Answered<'_, ()>> {
        Some(self.restart_it().boxed())
    }
}

/// The exit code is that of the last run, so it does not apply to a running container.
fn state_of(running: bool, restarting: bool, paused: bool, exit_code: i64) -> State {
    match (running, exit_code) {
        _ if restarting || paused => State::Changing,
        (true, _) => State::Running,
        // The exit codes after SIGTERM and SIGKILL of `docker stop`: the container did not fail.
        (false, 0 | 137 | 143) => State::Stopped,
        (false, _) => State::Failed,
    }
}

/// An image's name without the prefixes that Docker and podman add to short names.
fn short(image: &str) -> &str {
    let prefixes = ["docker.io/library/", "docker.io/", "localhost/"];
    prefixes.iter().find_map(|prefix| image.strip_prefix(prefix)).unwrap_or(image)
}

fn done(result: Result<(), Error>) -> Result<(), BackendError> {
    match result {
        Err(Error::DockerResponseServerError { status_code: NOT_MODIFIED, .. }) => Ok(()),
        other => other.map_err(refused),
    }
}

#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn refused(error: Error) -> BackendError {
    match &error {
        Error::DockerResponseServerError { message, .. } => failed(message),
        other => failed(other.to_string()),
    }
}

fn failed(reason: impl AsRef<str>) -> BackendError {
    BackendError { backend: "docker", reason: one_line(reason.as_ref()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_container_has_not_failed() {
        assert_eq!(state_of(true, false, false, 137), State::Running);
        assert_eq!(state_of(true, true, false, 0), State::Changing);
        assert_eq!(state_of(true, false, true, 0), State::Changing);
        for code in [0, 137, 143] {
            assert_eq!(state_of(false, false, false, code), State::Stopped, "{code}");
        }
        assert_eq!(state_of(false, false, false, 1), State::Failed);
    }

    #[test]
    fn an_image_is_known_by_its_short_and_its_long_name() {
        for name in ["couchdb:3", "docker.io/library/couchdb:3", "docker.io/couchdb:3", "localhost/couchdb:3"]
        {
            assert_eq!(short(name), "couchdb:3");
        }
        assert_eq!(short("quay.io/couchdb:3"), "quay.io/couchdb:3");
    }
}
