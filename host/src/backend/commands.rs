//! Runs the programs configured by root, for other init systems and for tests: argument vectors without a
//! shell, a minimal environment, a time limit, and a limit for the stored output.

use std::{
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use futures_util::FutureExt;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time,
};
use trove_couchdb_protocol::host::{Seen, State};

use super::manager::{Answered, Backend, BackendError, one_line};
use crate::policy::Arguments;

/// `PATH` in the programs' environment.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The time limit for reading the output after a program has exited: its child processes may keep it open.
const AFTERWARDS: Duration = Duration::from_millis(200);

/// The prefix of the main process id in the output of `status`, as in `sd_notify(3)`.
const MAIN_PID: &str = "MAINPID=";

/// The limits of one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) timeout: Duration,
    pub(super) output: usize,
}

/// The three programs of a service.
#[derive(Debug)]
pub(super) struct Commands {
    start: Arguments,
    stop: Arguments,
    status: Arguments,
    limits: Limits,
}

/// The process group of a run, which is killed when the run is cancelled.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The group may already be gone.
            let _gone = kill_process_group(group, Signal::KILL).is_err();
        }
    }
}

/// A finished run.
struct Ended {
    status: ExitStatus,
    output: String,
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
        let (status, output) = (ended.status, one_line(&ended.output));
        Err(failed(command, format!("{status}: {output}")))
    }

    async fn see(&self) -> Result<Seen, BackendError> {
        let ended = run(&self.status, self.limits).await?;
        let Some(state) = state_of(ended.status.code()) else {
            let (status, output) = (ended.status, one_line(&ended.output));
            return Err(failed(
                &self.status,
                format!("{status}, which says nothing about the service: {output}"),
            ));
        };
        let main_pid = ended.output.lines().find_map(|line| line.trim().strip_prefix(MAIN_PID)?.parse().ok());
        let instance = main_pid.and_then(|pid| Some(format!("{pid} {}", started(pid)?)));
        Ok(Seen { state, detail: format!("status gave {}", ended.status), main_pid, instance })
    }
}

impl Backend for Commands {
    fn look(&self) -> Answered<'_, Seen> {
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
    let system = |error: io::Error| failed(command, format!("it can't be run: {error}"));
    let mut child = Command::new(command.program())
        .args(command.rest())
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // In its own process group, so that it can be killed with its children.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(system)?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let mut output = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let status = {
        let reading = async {
            tokio::join!(
                keep(stdout, limits.output, &mut output.0),
                keep(stderr, limits.output, &mut output.1)
            )
        };
        let mut reading = std::pin::pin!(reading);
        let ended = async {
            let mut all_read = false;
            loop {
                tokio::select! {
                    status = child.wait() => {
                        if !all_read {
                            drop(time::timeout(AFTERWARDS, &mut reading).await);
                        }
                        return status;
                    }
                    _ = &mut reading, if !all_read => all_read = true,
                }
            }
        };
        time::timeout(limits.timeout, ended).await
    };
    if let Ok(status) = status {
        // The processes that are left are the service.
        group.0 = None;
        let (stdout, stderr) = output;
        let output = format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        return Ok(Ended { status: status.map_err(system)?, output });
    }
    drop(group);
    let seconds = limits.timeout.as_secs();
    Err(failed(command, format!("it was killed after {seconds} s (service.commands.timeout)")))
}

/// Keeps the first bytes but reads everything: a program whose output is not read hangs.
async fn keep(stream: Option<impl AsyncRead + Unpin>, limit: usize, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        let room = limit.saturating_sub(kept.len());
        kept.extend_from_slice(chunk.get(..read.min(room)).unwrap_or_default());
    }
}

fn failed(command: &Arguments, reason: impl AsRef<str>) -> BackendError {
    let reason = format!("{}: {}", command.program().display(), reason.as_ref());
    BackendError { backend: "commands", reason: one_line(&reason) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use super::*;

    fn arguments(words: &[&str]) -> Arguments {
        Arguments::try_from(words.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    fn limits(seconds: f64) -> Limits {
        Limits { timeout: Duration::from_secs_f64(seconds), output: 16 }
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
    async fn a_program_that_hangs_is_killed_with_its_children() {
        let before = Instant::now();
        let marker = format!("{}.{}", 300_000, std::process::id());
        let hangs = shell(&format!("sleep {marker} & sleep {marker}"));
        let error = run(&hangs, limits(0.3)).await.err().unwrap();
        assert!(error.reason.contains("it was killed after"), "{error}");
        assert!(before.elapsed() < Duration::from_secs(5));
        time::sleep(Duration::from_millis(200)).await;
        let left = std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            std::fs::read(process.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).starts_with(&format!("sleep\0{marker}")))
        });
        assert!(!left, "a child outlived the time limit");
    }

    #[tokio::test]
    async fn what_it_leaves_running_does_not_hold_it_up() {
        let before = Instant::now();
        let ended = run(&shell("sleep 4 & echo started"), limits(20.0)).await.unwrap();
        assert!(ended.status.success() && ended.output.contains("started"));
        assert!(before.elapsed() < Duration::from_secs(3));
    }

    #[tokio::test]
    async fn much_output_is_read_and_little_is_kept() {
        let ended = run(&shell("head -c 1000000 /dev/zero | tr '\\0' x"), limits(20.0)).await.unwrap();
        assert_eq!(ended.output.matches('x').count(), 16);
    }

    #[tokio::test]
    async fn nothing_of_our_environment_is_handed_on() {
        let limits = Limits { timeout: Duration::from_secs(20), output: 4096 };
        let ended = run(&arguments(&["/usr/bin/env"]), limits).await.unwrap();
        let mut names: Vec<_> =
            ended.output.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        names.sort_unstable();
        assert_eq!(names, ["LC_ALL", "PATH"]);
    }

    #[tokio::test]
    async fn a_main_process_is_reported_with_its_start() {
        let ours = std::process::id();
        let status = shell(&format!("echo MAINPID={ours}; exit 0"));
        let limits = Limits { timeout: Duration::from_secs(20), output: 4096 };
        let commands = Commands::new(shell("exit 5"), shell("echo no >&2; exit 6"), status, limits);
        let seen = commands.look().await.unwrap();
        assert_eq!((seen.state, seen.main_pid), (State::Running, Some(ours)));
        assert_eq!(seen.instance, Some(format!("{ours} {}", started(ours).unwrap())));
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
