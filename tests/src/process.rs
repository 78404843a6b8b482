//! Child processes that never outlive the test process.
//!
//! Callers: the RabbitMQ node, the agent, the Python peer. Every child gets its own process group, so that
//! Ctrl-C in the terminal reaches only the test process, which stops the children in order. `Drop` kills and
//! reaps the child, and a small guard (`tests/scripts/guard.sh`) does the same if this process is killed or
//! leaves a child in a static. Only processes started here are affected.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, kill_process};
use tokio::time::{Instant, sleep};

pub use rustix::process::Signal;

const GUARD: &str = include_str!("../scripts/guard.sh");
const POLL: Duration = Duration::from_millis(10);

/// A running or exited child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    guard: Option<Guard>,
}

impl Process {
    /// Starts `command`; the guard removes the directory `scratch` if this process is killed.
    pub fn spawn(command: &mut Command, scratch: Option<&Path>) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        let mut process = Self { name, child, guard: None };
        process.guard = Some(Guard::over(process.pid(), scratch)?);
        Ok(process)
    }

    /// The process id; it does not change when the process exits.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes the pipe to the child's standard input, if it was requested and not taken yet.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Takes the pipe from the child's standard output, if it was requested and not taken yet.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The exit status, or `None` while the process runs.
    pub fn status(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?;
        if status.is_some() {
            self.stop_guard();
        }
        Ok(status)
    }

    /// Sends a signal; an error if the process has exited.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.status()? {
            bail!("{} has ended already: {status}", self.name);
        }
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot send {signal:?} to {}", self.name))
    }

    /// Waits up to `limit` until the process has exited by itself.
    pub async fn exit_within(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} (pid {}) still runs after {limit:?}", self.name, self.pid());
            }
            sleep(POLL).await;
        }
    }

    /// Kills the process with SIGKILL and reaps it; no error if it has already exited.
    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait().with_context(|| format!("cannot reap {}", self.name))?;
        self.stop_guard();
        Ok(())
    }

    /// Once the child is reaped its pid may belong to an unrelated process, which the guard must not kill.
    fn stop_guard(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.stop();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill9() {
            eprintln!("{error:#}");
        }
    }
}

/// The shell that waits for the death of this process.
#[derive(Debug)]
struct Guard {
    shell: Child,
}

impl Guard {
    fn over(pid: u32, scratch: Option<&Path>) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", GUARD, "guard"]).arg(pid.to_string()).arg(scratch.unwrap_or(Path::new("")));
        let shell = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the guard")?;
        Ok(Self { shell })
    }

    fn stop(mut self) {
        if let Some(mut pipe) = self.shell.stdin.take()
            && let Err(error) = pipe.write_all(b"farewell\n")
        {
            eprintln!("the guard of a test process is gone: {error}");
        }
        if let Err(error) = self.shell.wait() {
            eprintln!("cannot reap the guard: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::until::HUNG;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("600");
        command
    }

    fn runs(pid: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[tokio::test]
    async fn an_exit_is_seen_and_a_late_one_is_an_error() {
        let mut quick = Process::spawn(Command::new("sh").args(["-c", "exit 7"]), None).unwrap();
        assert_eq!(quick.exit_within(HUNG).await.unwrap().code(), Some(7));
        let mut slow = Process::spawn(&mut sleeper(), None).unwrap();
        let error = slow.exit_within(Duration::from_millis(50)).await.unwrap_err().to_string();
        assert!(error.contains("still runs"), "{error}");
    }

    #[tokio::test]
    async fn signals_arrive_and_a_dead_process_takes_none() {
        let mut process = Process::spawn(&mut sleeper(), None).unwrap();
        process.signal(Signal::TERM).unwrap();
        process.exit_within(HUNG).await.unwrap();
        assert!(process.signal(Signal::TERM).is_err());
        assert!(process.kill9().is_ok());
    }

    #[test]
    fn drop_ends_the_process() {
        let process = Process::spawn(&mut sleeper(), None).unwrap();
        let pid = process.pid();
        assert!(runs(pid));
        drop(process);
        assert!(!runs(pid));
    }

    #[tokio::test]
    async fn the_guard_acts_when_its_pipe_closes_without_farewell() {
        let scratch = tempfile::tempdir().unwrap();
        let mut process = Process::spawn(&mut sleeper(), Some(scratch.path())).unwrap();
        let mut guard = process.guard.take().unwrap();
        drop(guard.shell.stdin.take());
        process.exit_within(HUNG).await.unwrap();
        guard.shell.wait().unwrap();
        assert!(!scratch.path().exists());
    }
}
