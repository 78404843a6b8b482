//! `trove-couchdb-hostd` under test: the real binary with the test's policy and its own socket.
//!
//! Callers: tests/tests/hostd. Standard output (the audit log) and standard error go to files.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::process::{Process, Signal};
use crate::until::{HUNG, until};

/// A started helper; dropping it kills it.
#[derive(Debug)]
pub struct HostdProcess {
    // Fields drop in this order: the process before its files.
    process: Process,
    directory: tempfile::TempDir,
}

impl HostdProcess {
    /// Starts the helper with this `host.toml` and waits until it listens.
    pub async fn start(policy: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("trove-hostd-").tempdir()?;
        // A different account must be able to reach the socket.
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let path = directory.path().join("host.toml");
        std::fs::write(&path, policy)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let hostd = Self { process: launch(directory.path(), &[])?, directory };
        hostd.until_listening().await?;
        Ok(hostd)
    }

    /// The path of the socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("hostd.sock")
    }

    /// Kills the helper with SIGKILL, like a crash.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// Starts the helper again, as systemd does for the next connection.
    pub async fn start_again(&mut self) -> Result<()> {
        self.process = launch(self.directory.path(), &[])?;
        self.until_listening().await
    }

    /// The same, below another program such as strace.
    pub async fn start_below(&mut self, wrapper: &[&str]) -> Result<()> {
        self.process = launch(self.directory.path(), wrapper)?;
        self.until_listening().await
    }

    /// Stops the helper with SIGTERM and waits until it has exited.
    pub async fn terminate(&mut self) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        let status = self.process.exit_within(HUNG).await?;
        if !status.success() {
            bail!("trove-couchdb-hostd ended with {status}");
        }
        Ok(())
    }

    /// The lines of the audit log so far.
    pub fn audit(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.directory.path().join("audit.log"))?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Sends a request directly from this process, without an agent.
    pub async fn ask(&self, request: &Value) -> Result<Value> {
        let mut stream = UnixStream::connect(self.socket()).await?;
        let text = request.to_string();
        stream.write_u32(u32::try_from(text.len())?).await?;
        stream.write_all(text.as_bytes()).await?;
        let mut answer = vec![0; usize::try_from(stream.read_u32().await?)?];
        stream.read_exact(&mut answer).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    async fn until_listening(&self) -> Result<()> {
        let socket = self.socket();
        until("trove-couchdb-hostd listens", async || Ok(UnixStream::connect(&socket).await.is_ok())).await?;
        // Gives the helper time to finish this connection, so that it does not count as the next one.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    }
}

fn launch(directory: &Path, wrapper: &[&str]) -> Result<Process> {
    let append = |name: &str| File::options().create(true).append(true).open(directory.join(name));
    let program = crate::agent::binary()?.with_file_name("trove-couchdb-hostd");
    let mut command = match wrapper.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    command
        .arg("--policy")
        .arg(directory.join("host.toml"))
        .arg("--listen")
        .arg(directory.join("hostd.sock"))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(append("audit.log")?)
        .stderr(append("error.log")?);
    Process::spawn(&mut command, None).context("run `cargo build -p trove-couchdb-hostd` (`make test` does)")
}
