//! systemd over D-Bus: waits for the result of a job. The unit's invocation id shows whether it was
//! restarted.

use futures_util::{FutureExt, StreamExt};
use trove_couchdb_protocol::host::{Observed, State};
use zbus::{Connection, zvariant::OwnedObjectPath};
use zbus_systemd::systemd1::{ManagerProxy, ServiceProxy, UnitProxy};

use super::manager::{Answered, Backend, BackendError};
use crate::{one_line::one_line, policy::UnitName};

/// A later job on the unit replaces an earlier one, as with systemctl.
const MODE: &str = "replace";

/// One unit.
#[derive(Debug)]
pub(super) struct Systemd {
    unit: UnitName,
}

#[derive(Debug, Clone, Copy)]
enum Job {
    Start,
    Stop,
    Restart,
}

impl Systemd {
    pub(super) fn new(unit: UnitName) -> Self {
        Self { unit }
    }

    fn failed(reason: impl AsRef<str>) -> BackendError {
        BackendError { backend: "systemd", reason: one_line(reason.as_ref()) }
    }

    async fn manager(&self) -> Result<ManagerProxy<'static>, BackendError> {
        let connection = Connection::system().await.map_err(|error| {
            Self::failed(format!("no connection to the system bus ({error}); check that dbus.service runs"))
        })?;
        ManagerProxy::new(&connection).await.map_err(refused)
    }

    async fn see(&self) -> Result<Observed, BackendError> {
        let manager = self.manager().await?;
        let path = manager.load_unit(self.unit.to_string()).await.map_err(refused)?;
        let connection = manager.inner().connection();
        let unit = UnitProxy::new(connection, path.clone()).await.map_err(refused)?;
        let load_state = unit.load_state().await.map_err(refused)?;
        if load_state != "loaded" {
            let (name, advice) = (&self.unit, "check service.systemd.unit in host.toml");
            return Err(Self::failed(format!("unit {name} is {load_state}; {advice}")));
        }
        let active = unit.active_state().await.map_err(refused)?;
        let sub = unit.sub_state().await.map_err(refused)?;
        let invocation = unit.invocation_id().await.map_err(refused)?;
        let service = ServiceProxy::new(connection, path).await.map_err(refused)?;
        let main_pid = service.main_pid().await.map_err(refused)?;
        Ok(Observed {
            state: state_of(&active),
            detail: one_line(&format!("{active} ({sub})")),
            main_pid: Some(main_pid).filter(|pid| *pid != 0),
            instance: (!invocation.is_empty()).then(|| hex(&invocation)),
        })
    }

    async fn run(&self, job: Job) -> Result<(), BackendError> {
        let manager = self.manager().await?;
        // Subscribe before the job is queued, so that its end can't be missed.
        let mut ended = manager.receive_job_removed().await.map_err(refused)?;
        manager.subscribe().await.map_err(refused)?;
        let (unit, mode) = (self.unit.to_string(), MODE.to_owned());
        let queued: OwnedObjectPath = match job {
            Job::Start => manager.start_unit(unit, mode).await,
            Job::Stop => manager.stop_unit(unit, mode).await,
            Job::Restart => manager.restart_unit(unit, mode).await,
        }
        .map_err(refused)?;
        while let Some(signal) = ended.next().await {
            let job = signal.args().map_err(refused)?;
            if job.job == queued {
                return if job.result == "done" { Ok(()) } else { Err(self.not_done(&job.result)) };
            }
        }
        Err(Self::failed("the connection to the system bus was lost; see service-status for the outcome"))
    }

    fn not_done(&self, result: &str) -> BackendError {
        let unit = &self.unit;
        Self::failed(format!("the job on {unit} ended with {result:?}; see: journalctl -u {unit}"))
    }
}

impl Backend for Systemd {
    fn look(&self) -> Answered<'_, Observed> {
        self.see().boxed()
    }

    fn start(&self) -> Answered<'_, ()> {
        self.run(Job::Start).boxed()
    }

    fn stop(&self) -> Answered<'_, ()> {
        self.run(Job::Stop).boxed()
    }

    fn restart(&self) -> Option<Answered<'_, ()>> {
        Some(self.run(Job::Restart).boxed())
    }
}

/// The words of `systemctl is-active`. systemd may be restarting an `activating` unit after a crash.
fn state_of(active: &str) -> State {
    match active {
        "active" | "reloading" | "refreshing" => State::Running,
        "inactive" => State::Stopped,
        "failed" => State::Failed,
        _ => State::Changing,
    }
}

#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn refused(error: zbus::Error) -> BackendError {
    let reason = match &error {
        // The text of a D-Bus error may be incomprehensible without the error's name.
        zbus::Error::MethodError(name, text, _) => {
            text.as_ref().map_or_else(|| name.to_string(), |text| format!("{text} ({name})"))
        }
        other => other.to_string(),
    };
    Systemd::failed(reason)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_as_systemd_names_them() {
        for (active, state) in [
            ("active", State::Running),
            ("reloading", State::Running),
            ("inactive", State::Stopped),
            ("failed", State::Failed),
            ("activating", State::Changing),
            ("deactivating", State::Changing),
            ("maintenance", State::Changing),
        ] {
            assert_eq!(state_of(active), state, "{active}");
        }
    }

    #[test]
    fn an_invocation_is_written_as_systemd_writes_it() {
        assert_eq!(hex(&[0, 0xAB, 0x10]), "00ab10");
    }
}
