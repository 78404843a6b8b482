//! The measured programs, each in its own process so that its CPU time can be measured.
//!
//! Callers: the sections. The agent is the release build; the broker is the tests' private RabbitMQ node;
//! CouchDB is the in-memory one, for the agent and for the Python code alike.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use trove_couchdb_tests::{
    agent::{AgentOptions, AgentProcess},
    couch::CouchClient,
    process::Process,
    rabbitmq::RabbitNode,
};

/// CouchDB's first administrator, known to both sides; not a real secret.
pub const ADMIN: (&str, &str) = ("bench", "bench");

/// A program in the same target directory as this one.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find the running program")?;
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("no {name} beside {}: run `make bench`", own.display()))
}

/// The directory of this crate.
pub fn directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A process that printed a line when it was ready.
#[derive(Debug)]
pub struct Child {
    process: Process,
    /// Kept open: some programs exit when it is closed.
    _stdin: ChildStdin,
    /// The line that the process printed when it was ready.
    pub first_line: String,
}

impl Child {
    /// Starts `command` and waits for its first line.
    pub fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::spawn(command, None)?;
        let stdin = process.take_stdin().context("no standard input")?;
        let mut output = BufReader::new(process.take_stdout().context("no standard output")?);
        let mut first_line = String::new();
        output.read_line(&mut first_line)?;
        ensure!(!first_line.is_empty(), "{command:?} ended without a word");
        // Keeps reading, so that the process never blocks on a full pipe.
        std::thread::spawn(move || output.lines().map_while(Result::ok).for_each(drop));
        Ok(Self { process, _stdin: stdin, first_line: first_line.trim().to_owned() })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The in-memory CouchDB, with its log of requests.
#[derive(Debug)]
pub struct Couch {
    child: Child,
    url: String,
}

impl Couch {
    /// Starts a server with [`ADMIN`].
    pub fn start(version: &str) -> Result<Self> {
        let mut command = Command::new(sibling("in-memory-couchdb")?);
        let admin = format!("{}:{}", ADMIN.0, ADMIN.1);
        command.args(["--version", version, "--admin", &admin, "--faults", "--settle-ms", "0"]);
        let child = Child::start(&mut command)?;
        let url = child.first_line.strip_prefix("listening on ").context("no address")?.to_owned();
        Ok(Self { child, url })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The URL, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> Result<u16> {
        self.url.rsplit(':').next().and_then(|port| port.parse().ok()).context("no port")
    }

    /// A client for creating content and counting requests.
    pub fn client(&self) -> Result<CouchClient> {
        CouchClient::new(&self.url)
    }

    /// Clears the request log.
    pub async fn forget_requests(&self) -> Result<()> {
        self.client()?.request(trove_couchdb_tests::couch::Method::DELETE, "/_fault/log", None, None).await?;
        Ok(())
    }

    /// The number of requests since then.
    pub async fn requests(&self) -> Result<usize> {
        let (_, log) = self.client()?.get("/_fault/log", None).await?;
        Ok(log.as_array().context("no log")?.len())
    }
}

/// A virtual environment with exactly the packages of the file; created if it is missing.
pub fn python(requirements: &Path, name: &str) -> Result<PathBuf> {
    let root = directory().parent().context("no workspace")?;
    let mut command = Command::new(root.join("tests/scripts/venv.sh"));
    command
        .arg(requirements)
        .arg(root.join("target").join(name))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output().context("cannot run venv.sh")?;
    ensure!(output.status.success(), "the virtual environment can't be made; see `make deps`");
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// A plain oslo.messaging server.
pub fn python_echo(broker: &RabbitNode, exchange: &str, guest_id: &str) -> Result<Command> {
    let root = directory().parent().context("no workspace")?;
    let python = python(&root.join("tests/python/requirements.txt"), "python-venv")?;
    let mut command = Command::new(python);
    command.args(["-W", "ignore"]).arg(directory().join("python/echo_server.py"));
    command.args([
        "--transport-url",
        &broker.transport_url(),
        "--exchange",
        exchange,
        "--guest-id",
        guest_id,
    ]);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// The minimal server in Rust.
pub fn lapin_echo(broker: &RabbitNode, exchange: &str, guest_id: &str, confirm: bool) -> Result<Command> {
    let mut command = Command::new(sibling("lapin_echo")?);
    let uri = format!("{}?frame_max=131072&heartbeat=60", broker.amqp_uri());
    command.args(["--uri", &uri, "--exchange", exchange, "--queue", &format!("guestagent.{guest_id}")]);
    command.args(confirm.then_some("--confirm"));
    Ok(command)
}

/// The agent's configuration: as in Trove's files, with defaults for everything else.
pub fn agent_options(guest_id: &str, transport_url: &str, couch: &Couch) -> AgentOptions {
    AgentOptions::new(guest_id, transport_url, couch.url())
        .set("log.filter", "info")
        .bootstrap_admin(ADMIN.0, ADMIN.1)
}

/// Starts the agent and waits until it is ready.
pub async fn agent(options: AgentOptions) -> Result<AgentProcess> {
    AgentProcess::start_ready(options).await
}

/// Waits until a process is idle after its start.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}
