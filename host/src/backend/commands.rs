//! Programs that root names in `host.toml`, for other init systems and for tests.

use std::path::Path;

use futures_util::FutureExt;
use trove_couchdb_protocol::host::{Observed, State};

use super::manager::{Answered, Backend, BackendError};
use crate::{
    one_line::one_line,
    policy::Arguments,
    program::{self, Ended, Limits, RunError},
};

/// The prefix of the main process id in the output of `status`, as in `sd_notify(3)`.
const MAIN_PID: &str = "MAINPID=";

/// The three programs of a service.
#[derive(Debug)]
pub(super) struct Commands {
    start: Arguments,
    stop: Arguments,
    status: Arguments,
    limits: Limits,
}

impl Commands {
    pub(super) fn new(start: Arguments, stop: Arguments, status: Arguments, limits: Limits) -> Self {
        Self { start, stop, status, limits }
    }

    async fn change(&self, command: &Arguments) -> Result<(), BackendError> {
        let ended = run(command, self.limits).await?;
        if ended.status.success() {
            return Ok(());
        }
        let (status, output) = (ended.status, one_line(&ended.output()));
        Err(failed(command, format!("{status}: {output}")))
    }

    async fn see(&self) -> Result<Observed, BackendError> {
        let ended = run(&self.status, self.limits).await?;
        let Some(state) = state_of(ended.status.code()) else {
            let (status, output) = (ended.status, one_line(&ended.output()));
            return Err(failed(
                &self.status,
                format!("{status}, which says nothing about the service: {output}"),
            ));
        };
        let main_pid =
            ended.output().lines().find_map(|line| line.trim().strip_prefix(MAIN_PID)?.parse().ok());
        let instance = main_pid.and_then(|pid| Some(format!("{pid} {}", started(pid)?)));
        Ok(Observed { state, detail: format!("status gave {}", ended.status), main_pid, instance })
    }
}

impl Backend for Commands {
    fn look(&self) -> Answered<'_, Observed> {
        self.see().boxed()
    }

    fn start(&self) -> Answered<'_, ()> {
        self.change(&self.start).boxed()
    }

    fn stop(&self) -> Answered<'_, ()> {
        self.change(&self.stop).boxed()
    }

    /// `service` checks that the service is stopped before it starts it.
    fn restart(&self) -> Option<Answered<'_, ()>> {
        None
    }
}

/// The exit codes of the Linux Standard Base for `status`.
fn state_of(code: Option<i32>) -> Option<State> {
    match code {
        Some(0) => Some(State::Running),
        // Dead, with a leftover pid file or lock file.
        Some(1 | 2) => Some(State::Failed),
        Some(3) => Some(State::Stopped),
        _ => None,
    }
}

/// The start time of a process in clock ticks since the boot: field 22 of `/proc/PID/stat`. The process name
/// before it may contain any characters.
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(19).map(str::to_owned)
}

async fn run(command: &Arguments, limits: Limits) -> Result<Ended, BackendError> {
    let ended = program::run(command.program(), command.rest(), None, limits).await;
    ended.map_err(|error| match error {
        RunError::System(_) => failed(command, error.to_string()),
        RunError::Late(_) => failed(command, format!("{error} (service.commands.timeout)")),
    })
}

fn failed(command: &Arguments, reason: impl AsRef<str>) -> BackendError {
    let reason = format!("{}: {}", command.program().display(), reason.as_ref());
    BackendError { backend: "commands", reason: one_line(&reason) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    fn arguments(words: &[&str]) -> Arguments {
        Arguments::try_from(words.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    fn shell(text: &str) -> Arguments {
        arguments(&["/bin/sh", "-c", text])
    }

    #[test]
    fn the_exit_codes_of_the_linux_standard_base() {
        let states = [0, 1, 2, 3, 4, 150].map(|code| state_of(Some(code)));
        let expected = [
            Some(State::Running),
            Some(State::Failed),
            Some(State::Failed),
            Some(State::Stopped),
            None,
            None,
        ];
        assert_eq!(states, expected);
        assert_eq!(state_of(None), None, "killed by a signal");
    }

    #[tokio::test]
    async fn a_main_process_is_reported_with_its_start() {
        let ours = std::process::id();
        let status = shell(&format!("echo MAINPID={ours}; exit 0"));
        let limits = Limits { timeout: Duration::from_secs(60), output: 4096 };
        let commands = Commands::new(shell("exit 5"), shell("echo no >&2; exit 6"), status, limits);
        let observed = commands.look().await.unwrap();
        assert_eq!((observed.state, observed.main_pid), (State::Running, Some(ours)));
        assert_eq!(observed.instance, Some(format!("{ours} {}", started(ours).unwrap())));
        let error = commands.stop().await.unwrap_err().to_string();
        assert_eq!(error, "commands failed: /bin/sh: exit status: 6: no");
        let missing = Commands::new(arguments(&["/nowhere"]), shell(""), shell("exit 4"), limits);
        assert!(
            missing
                .start()
                .await
                .unwrap_err()
                .to_string()
                .contains("/nowhere: it can't be run: No such file")
        );
        assert!(
            missing.look().await.unwrap_err().to_string().contains("which says nothing about the service")
        );
    }
}
