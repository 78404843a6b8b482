//! A CouchDB that start-stop-daemon starts and stops, and its agent.

#![allow(clippy::unnecessary_debug_formatting)] // it quotes a path as TOML needs it

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use trove_couchdb_tests::agent::{self, AgentOptions, AgentProcess};
use trove_couchdb_tests::couch::CouchClient;
use trove_couchdb_tests::hostd::HostdProcess;
use trove_couchdb_tests::local::LocalClient;
use trove_couchdb_tests::{ports::PortBlock, test_log};

/// Part of Debian's dpkg.
const DAEMON: &str = "/usr/sbin/start-stop-daemon";

/// The administrator that the agent uses to create its own.
const ADMIN: (&str, &str) = ("admin", "secret");

/// A policy that allows everything.
pub const EVERY_VERB: &str = "allow = [\"service-status\", \"service-start\", \"service-stop\", \"service-restart\", \
                              \"service-wait\"]";

/// The service's files and port.
pub struct Service {
    directory: tempfile::TempDir,
    ports: PortBlock,
}

impl Service {
    /// `None`, reported as skipped, without start-stop-daemon.
    pub fn new() -> Result<Option<Self>> {
        if !Path::new(DAEMON).exists() {
            test_log::skipped(&format!("there is no {DAEMON}"));
            return Ok(None);
        }
        let directory = tempfile::Builder::new().prefix("trove-service-").tempdir()?;
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
        let service = Self { directory, ports: PortBlock::reserve()? };
        std::fs::create_dir(service.data())?;
        let start = format!(
            "#!/bin/sh\nwhile [ -e {hold} ]; do sleep 0.05; done\nexec {DAEMON} --start --oknodo --background --make-pidfile \
             --pidfile {pid} --startas {program} -- --port {port} --admin {}:{} --iterations 10 --keep {keep}\n",
            ADMIN.0,
            ADMIN.1,
            hold = service.hold().display(),
            pid = service.pid_file().display(),
            program = couchdb()?.display(),
            port = service.ports.port(0),
            keep = service.data().join("kept").display(),
        );
        std::fs::write(service.path("start"), start)?;
        std::fs::set_permissions(service.path("start"), std::fs::Permissions::from_mode(0o700))?;
        Ok(Some(service))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The directory of CouchDB's data.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn pid_file(&self) -> PathBuf {
        self.path("pid")
    }

    /// A start waits as long as this file exists.
    pub fn hold(&self) -> PathBuf {
        self.path("hold")
    }

    /// From now on CouchDB ends at once when it is started, after these lines in its log.
    pub fn break_start(&self, lines: &str) -> Result<()> {
        std::fs::write(self.path("log"), lines)?;
        Ok(std::fs::write(self.path("start"), "#!/bin/sh\nexit 0\n")?)
    }

    /// The running process according to start-stop-daemon's pid file.
    pub fn pid(&self) -> Option<u32> {
        let pid = std::fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        (!stat.contains(") Z ")).then_some(pid)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.port(0))
    }

    /// Whether CouchDB answers.
    pub async fn answers(&self) -> bool {
        answers(&self.url()).await
    }

    /// A `host.toml` for this service and an account.
    pub fn policy(&self, account: &str, more: &str) -> String {
        let pid = self.pid_file();
        let pid = pid.display();
        let start = self.path("start");
        let all = if more.contains("allow") { "" } else { EVERY_VERB };
        format!(
            "[hostd]\naccount = \"{account}\"\nstate_dir = {state:?}\n[service]\nname = \"couchdb\"\nsettle = 0.3\n{all}\n{more}\n\
             [service.commands]\nstart = [\"{}\"]\n\
             stop = [\"{DAEMON}\", \"--stop\", \"--oknodo\", \"--pidfile\", \"{pid}\", \"--retry\", \"5\"]\n\
             status = [\"{DAEMON}\", \"--status\", \"--pidfile\", \"{pid}\"]\n\
             [couchdb]\nallow = [\"log-tail\"]\nlog_file = \"{}\"\n",
            start.display(),
            self.path("log").display(),
            state = self.path("state"),
        )
    }

    /// Starts the helper for the current account.
    pub async fn helper(&self, more: &str) -> Result<HostdProcess> {
        HostdProcess::start(&self.policy(&rustix::process::geteuid().as_raw().to_string(), more)).await
    }

    /// An agent on this CouchDB, running as the account `user`, and a client of its socket.
    pub async fn agent(
        &self,
        hostd: &HostdProcess,
        user: Option<u32>,
    ) -> Result<(AgentProcess, LocalClient)> {
        let mut options = AgentOptions::without_broker(&self.url())
            .bootstrap_admin(ADMIN.0, ADMIN.1)
            .set("rpc.call_retry_timeout", 60)
            .set("host.socket", hostd.socket().to_str().context("a path that is no text")?);
        options.user = user;
        let agent = AgentProcess::start_ready(options).await?;
        let client = LocalClient::connect(&agent.socket()).await?;
        Ok((agent, client))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Stops CouchDB whatever the result of the test is.
        if let Some(pid) = self.pid()
            && let Err(error) = Command::new("kill").args(["-9", &pid.to_string()]).status()
        {
            eprintln!("the CouchDB of a test still runs: {error}");
        }
    }
}

/// Whether a CouchDB answers at this URL.
pub async fn answers(url: &str) -> bool {
    let Ok(client) = CouchClient::new(url) else { return false };
    client.get("/", None).await.is_ok_and(|(status, _)| status.is_success())
}

/// The in-memory CouchDB as a program.
pub fn couchdb() -> Result<PathBuf> {
    let path = agent::binary()?.with_file_name("in-memory-couchdb");
    anyhow::ensure!(path.is_file(), "no {}: run `cargo build -p in-memory-couchdb`", path.display());
    Ok(path)
}

/// The last line of an audit log.
pub fn last(hostd: &HostdProcess) -> Result<Value> {
    hostd.audit()?.pop().context("the audit log is empty")
}
