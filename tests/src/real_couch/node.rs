//! One private node, which can be started, killed and started again, also as a different release.
//!
//! Callers: tests, through [`super::RealPlan`], and [`super::RealCluster`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Method, Url};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::files::{self, Address};
use super::{RealPlan, Release};
use crate::couch::{CouchClient, CouchServer, Credentials};
use crate::disk::Disk;
use crate::ports::PortBlock;
use crate::process::{Process, Signal};

/// A node takes 3 s on an idle machine. One that cannot start exits by itself, so this only stops a hung
/// test.
const START_LIMIT: Duration = Duration::from_secs(300);
const STOP_LIMIT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(50);
/// The developer's values are meant for a different Erlang.
const NOT_INHERITED: &[&str] =
    &["ERL_FLAGS", "ERL_AFLAGS", "ERL_ZFLAGS", "ERL_LIBS", "ROOTDIR", "BINDIR", "COUCHDB_SYSCONFIG_FILE"];

/// A running or stopped node of a real CouchDB.
#[derive(Debug)]
pub struct RealNode {
    // Fields drop in this order: the process before its data, and the ports last.
    process: Process,
    disk: Option<Disk>,
    directory: TempDir,
    release: Release,
    address: Address,
    url: Url,
    admin: Credentials,
    single: bool,
    ports: Option<PortBlock>,
}

impl RealNode {
    /// `None`, reported as skipped, if the disk of the plan can't be mounted.
    pub(super) fn start(release: Release, plan: &RealPlan) -> Result<Option<Self>> {
        let ports = PortBlock::reserve()?;
        let address = Address { port: ports.port(0), cluster: None, is_renamed: false };
        let admin = Credentials::new("first_admin", &hex::encode(rand::random::<[u8; 8]>()));
        let cookie = hex::encode(rand::random::<[u8; 16]>());
        let Some(mut node) = Self::start_at(release, plan, address, admin, &cookie)? else { return Ok(None) };
        node.ports = Some(ports);
        Ok(Some(node))
    }

    pub(super) fn start_at(
        release: Release,
        plan: &RealPlan,
        address: Address,
        admin: Credentials,
        cookie: &str,
    ) -> Result<Option<Self>> {
        let directory =
            tempfile::Builder::new().prefix("trove-couchdb-").tempdir().context("no temporary directory")?;
        files::lay_out(directory.path(), &admin, plan)?;
        files::write_cookie(directory.path(), cookie)?;
        let disk = match plan.disk_mib {
            Some(size) => match Disk::at(&directory.path().join("data"), size)? {
                Some(disk) => Some(disk),
                None => return Ok(None),
            },
            None => None,
        };
        let url = Url::parse(&format!("http://127.0.0.1:{}/", address.port))?;
        let process = spawn(directory.path(), &release, address)?;
        let single = plan.cluster.is_none();
        Ok(Some(Self { process, disk, directory, release, address, url, admin, single, ports: None }))
    }

    /// The address, without credentials and without a trailing slash.
    pub fn url(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }

    /// The HTTP port; no other node of this machine gets it.
    pub fn port(&self) -> u16 {
        self.address.port
    }

    /// The admin of the ini file.
    pub fn admin(&self) -> &Credentials {
        &self.admin
    }

    /// The version, e.g. `3.5.2`.
    pub fn version(&self) -> &str {
        self.release.version()
    }

    /// The node's Erlang name, as in `/_membership`.
    pub fn node_name(&self) -> String {
        self.address.node_name()
    }

    /// A client for inspecting the node.
    pub fn client(&self) -> Result<CouchClient> {
        CouchClient::new(&self.url())
    }

    /// The node as the server of a fixture; it must outlive the fixture.
    pub fn server(&self) -> CouchServer {
        CouchServer::private(self.url.clone(), self.admin.clone())
    }

    /// `etc/local.d`: CouchDB reads its ini files in alphabetical order at each start and writes settings
    /// made over HTTP to the last one.
    pub fn local_d(&self) -> PathBuf {
        files::local_d(self.directory.path())
    }

    /// The directory of the node's databases.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The disk of a node with [`RealPlan::disk_mib`].
    pub fn disk(&self) -> Result<&Disk> {
        self.disk.as_ref().context("this node has no disk of its own")
    }

    /// Changes the Erlang name of a stopped node, or changes it back.
    pub fn rename(&mut self) {
        self.address.is_renamed = !self.address.is_renamed;
    }

    /// The directory with all files of the node.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process id of the current run.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The log of all runs so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("couch.log")).unwrap_or_default()
    }

    /// Sends a signal, e.g. `STOP` and `CONT` to make the node hang.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Kills the node with SIGKILL, like a crash.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// Stops the node cleanly.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        self.process.exit_within(STOP_LIMIT).await?;
        Ok(())
    }

    /// Waits until the node exits by itself, e.g. because it has no admin.
    pub async fn exits(&mut self) -> Result<ExitStatus> {
        self.process.exit_within(START_LIMIT).await
    }

    /// Starts the node again on the same port and data, and waits until it answers.
    pub async fn start_again(&mut self) -> Result<()> {
        self.spawn_again()?;
        self.wait_ready().await
    }

    /// Starts the node again as a different release, e.g. `"3.5"`: an upgrade. False, reported as skipped,
    /// without such a release.
    pub async fn start_again_as(&mut self, version: &str) -> Result<bool> {
        let plan = RealPlan::default().version(version);
        let Some(release) = plan.release()? else { return Ok(false) };
        self.release = release;
        self.start_again().await?;
        Ok(true)
    }

    /// Starts the node again without waiting.
    pub fn spawn_again(&mut self) -> Result<()> {
        if self.process.status()?.is_none() {
            bail!("the CouchDB node still runs: stop or kill it first");
        }
        self.process = spawn(self.directory.path(), &self.release, self.address)?;
        Ok(())
    }

    /// Waits until the node answers and, unless it belongs to a cluster, has its system databases. An error
    /// has the last log lines if the node exits.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let client = self.client()?;
        let deadline = Instant::now() + START_LIMIT;
        while !self.answers(&client).await {
            if let Some(status) = self.process.status()? {
                bail!("CouchDB ended while starting ({status}):\n{}", self.last_words());
            }
            if Instant::now() >= deadline {
                bail!("CouchDB does not answer after {START_LIMIT:?}:\n{}", self.last_words());
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn answers(&self, client: &CouchClient) -> bool {
        let up =
            matches!(client.get("/_up", None).await, Ok((status, _)) if status.is_success() || status == 401);
        if !up || !self.single {
            return up;
        }
        for database in ["/_users", "/_replicator"] {
            // The test may have replaced this admin; a 401 then shows that the node is up.
            match client.get(database, Some(&self.admin)).await {
                Ok((status, _)) if status.is_success() || status == 401 => {}
                _ => return false,
            }
        }
        true
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Sends a request as the admin; it must succeed.
    pub async fn admin_request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let shown = format!("{method} {path}");
        let (status, answer) = self.client()?.request(method, path, Some(&self.admin), body).await?;
        anyhow::ensure!(status.is_success(), "{shown}: {status} {answer}");
        Ok(answer)
    }
}

fn spawn(directory: &Path, release: &Release, address: Address) -> Result<Process> {
    files::write(directory, release, address)?;
    let log = File::options().create(true).append(true).open(directory.join("couch.log"))?;
    let etc = |name: &str| directory.join("etc").join(name).display().to_string();
    let usual = |name: &str| release.directory.join("etc").join(name).display().to_string();
    let inis = [usual("default.ini"), usual("default.d"), etc("local.ini"), etc("local.d")];
    let mut command = Command::new(release.directory.join("bin/couchdb"));
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    if let Some((_, names)) = address.cluster {
        command.env("ERL_EPMD_PORT", names.to_string());
    }
    command
        .env("HOME", directory)
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_CRASH_DUMP", directory.join("erl_crash.dump"))
        .env("COUCHDB_ARGS_FILE", directory.join("etc/vm.args"))
        .env("COUCHDB_INI_FILES", inis.join(" "))
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Process::spawn(&mut command, Some(directory))
}
