//! The agent under test: the real binary in its own process, supervised as by systemd.
//!
//! Callers: integration tests and the tour. The process gets its own directory, a clean environment and a
//! notify socket. It can be stopped, killed and started again on the same files. This module observes the
//! agent only as an operator can (files, log, notifications, `/proc`).

mod notify;
mod options;

use std::fs::File;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub use notify::NotifySocket;
pub use options::{AgentOptions, write_private};

use crate::process::{Process, Signal};
use crate::test_log;

const CREDENTIALS: &str = "os_couchdb_admin_creds.json";
const SOCKET: &str = "agent.sock";
/// Covers a bootstrap with 600,000 PBKDF2 rounds in a debug build on a loaded machine.
const READY_LIMIT: Duration = crate::until::HUNG;
/// Longer than the agent's own shutdown limit of 25 s.
const STOP_LIMIT: Duration = crate::until::HUNG;
const POLL: Duration = Duration::from_millis(20);

/// A started agent; dropping it kills it and removes its files.
#[derive(Debug)]
pub struct AgentProcess {
    // Fields drop in this order: the process before the files that it uses.
    process: Process,
    notify: NotifySocket,
    options: AgentOptions,
    runs: u32,
    directory: TempDir,
}

impl AgentProcess {
    /// Starts the agent without waiting; see [`AgentProcess::wait_ready`].
    pub fn start(options: AgentOptions) -> Result<Self> {
        test_log::used(test_log::What::InMemory(test_log::OWN.to_owned()));
        let directory =
            tempfile::Builder::new().prefix("trove-agent-").tempdir().context("no temporary directory")?;
        std::fs::create_dir(directory.path().join("state")).context("cannot create the state directory")?;
        let (process, notify) = launch(directory.path(), &options, 1)?;
        Ok(Self { process, notify, options, runs: 1, directory })
    }

    /// Starts the agent and waits until it is ready.
    pub async fn start_ready(options: AgentOptions) -> Result<Self> {
        let mut agent = Self::start(options)?;
        agent.wait_ready().await?;
        Ok(agent)
    }

    /// Waits for `READY=1`. An error has the last log lines if the agent exits first or takes too long.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            if self.notifications().iter().any(|line| line == "READY=1") {
                return Ok(());
            }
            if let Some(status) = self.process.status()? {
                bail!("the agent ended before it was ready ({status}):\n{}", self.last_log_lines());
            }
            if Instant::now() >= deadline {
                bail!("the agent is not ready after {READY_LIMIT:?}:\n{}", self.last_log_lines());
            }
            sleep(POLL).await;
        }
    }

    /// What this run of the agent has sent to the service manager, e.g. `STATUS=…`, in order.
    pub fn notifications(&self) -> Vec<String> {
        self.notify.received()
    }

    /// Waits for a notification that `wanted` accepts.
    pub async fn wait_notification(&self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        self.notify.wait_for(limit, wanted).await
    }

    /// Standard output and error of all runs so far.
    pub fn logs(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Waits up to `limit` until the log contains `text`.
    pub async fn wait_log(&self, text: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !self.logs().contains(text) {
            if Instant::now() >= deadline {
                bail!("{text:?} is not in the log after {limit:?}:\n{}", self.last_log_lines());
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Kills the agent with SIGKILL, like a crash.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// Stops the agent with SIGTERM and waits until it has exited.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::TERM)?;
        self.process.exit_within(STOP_LIMIT).await
    }

    /// Sends a signal, e.g. `STOP` and `CONT` to make the agent hang.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits until the agent exits by itself, e.g. because of an invalid configuration.
    pub async fn exit_within(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.exit_within(limit).await
    }

    /// Starts the agent again on the files of its last run, with the settings of [`AgentProcess::options`].
    pub fn start_again(&mut self) -> Result<()> {
        if self.process.status()?.is_none() {
            bail!("the agent still runs: terminate or kill it first");
        }
        self.runs += 1;
        (self.process, self.notify) = launch(self.directory.path(), &self.options, self.runs)?;
        Ok(())
    }

    /// The settings; a change takes effect at the next [`AgentProcess::start_again`].
    pub fn options(&mut self) -> &mut AgentOptions {
        &mut self.options
    }

    /// The process id of the current run.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Resident memory in KiB (`VmRSS` of `/proc/PID/status`).
    pub fn rss_kib(&self) -> Result<u64> {
        self.memory_kib("VmRSS:")
    }

    /// The peak resident memory in KiB (`VmHWM`).
    pub fn peak_rss_kib(&self) -> Result<u64> {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, name: &str) -> Result<u64> {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).context("no such process")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let value = line.with_context(|| format!("no {name} in /proc"))?;
        value.trim().trim_end_matches(" kB").parse().with_context(|| format!("{name} is not a number"))
    }

    /// The file with the password of `os_admin`: in the agent's directory unless configured otherwise.
    pub fn credentials_file(&self) -> PathBuf {
        // Joining an absolute path replaces the directory.
        self.directory.path().join(self.options.text("couchdb.credentials_file").unwrap_or(CREDENTIALS))
    }

    /// The agent's local socket: in the agent's directory unless configured otherwise.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join(self.options.text("local.socket").unwrap_or(SOCKET))
    }

    /// The directory with all files of the agent.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The file that [`AgentProcess::logs`] reads.
    pub fn log_file(&self) -> PathBuf {
        self.directory.path().join("agent.log")
    }

    fn last_log_lines(&self) -> String {
        let logs = self.logs();
        let lines: Vec<_> = logs.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

fn launch(directory: &Path, options: &AgentOptions, run: u32) -> Result<(Process, NotifySocket)> {
    options.write(directory)?;
    let notify = NotifySocket::bind(directory.join(format!("notify-{run}.sock")))?;
    let log = File::options().create(true).append(true).open(directory.join("agent.log"))?;
    let mut command = match options.user {
        None => Command::new(binary()?),
        Some(user) => as_user(directory, user, &options.through)?,
    };
    command
        .arg("--config")
        .arg(directory.join("agent.toml"))
        .arg("--config-dir")
        .arg(directory.join("conf.d"))
        .args(&options.arguments)
        // A TROVE_COUCHDB_… variable of the developer's shell must not configure the agent.
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", directory)
        .env("NOTIFY_SOCKET", notify.path())
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok((Process::spawn(&mut command, Some(directory))?, notify))
}

/// The agent as a different user, who gets all of its files; requires root.
fn as_user(directory: &Path, user: u32, through: &[String]) -> Result<Command> {
    // The original may be in a directory that other users cannot read.
    let binary_of_user = directory.join("trove-couchdb-agent");
    std::fs::copy(binary()?, &binary_of_user).context("cannot copy the agent")?;
    give(directory, user)?;
    let Some((program, arguments)) = through.split_first() else {
        let mut command = Command::new(binary_of_user);
        command.uid(user).gid(user);
        return Ok(command);
    };
    let mut command = Command::new(program);
    command.args(arguments).arg(binary_of_user);
    Ok(command)
}

fn give(path: &Path, user: u32) -> Result<()> {
    chown(path, Some(user), Some(user)).with_context(|| format!("cannot give {} away", path.display()))?;
    if path.is_dir() {
        for entry in std::fs::read_dir(path)?.flatten() {
            give(&entry.path(), user)?;
        }
    }
    Ok(())
}

/// `TROVE_COUCHDB_AGENT`, or the binary next to the running test in `target/debug` or `target/release`.
///
/// Cargo sets `CARGO_BIN_EXE_…` only for tests of the binary's own package, and the harness is a different
/// package.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TROVE_COUCHDB_AGENT") {
        return Ok(path.into());
    }
    let own = std::env::current_exe().context("cannot find the running test")?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("trove-couchdb-agent"))
        .find(|path| path.is_file())
        .with_context(|| {
            format!(
                "no trove-couchdb-agent beside {}: run `cargo build -p trove-couchdb-agent` (`make test` does), or \
                 name it in TROVE_COUCHDB_AGENT",
                own.display()
            )
        })
}
