//! A private, temporary RabbitMQ node from Debian's `rabbitmq-server` package.
//!
//! Callers: the integration tests and the tour. The node has its own ports, home, data, logs and epmd, all
//! below one temporary directory and bound to 127.0.0.1; a system-wide RabbitMQ is never read or changed.
//!
//! A node takes 5 s to start, so the tests of one binary share a node: [`shared`]. Each test has its own
//! guest ids, control exchanges and conductor queues (a vhost per test would need a `rabbitmqctl` call of 5
//! s). Every process starts a node, so run the tests with `cargo test` (threads of one process), not with
//! `cargo nextest` (a process and so a node per test). Tests that stop or kill the broker start their own
//! node.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

use crate::certificates::PairFiles;
use crate::ports::PortBlock;
use crate::process::{Process, Signal};

/// The wrappers in `/usr/sbin` switch to the user `rabbitmq`; these scripts keep the current user.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CTL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
const USER: &str = "trove";
/// Measured 4.7 s on two idle cores, and over 90 s during other builds; a node that cannot start exits by
/// itself.
const START_LIMIT: Duration = crate::until::HUNG;
const STOP_LIMIT: Duration = crate::until::HUNG;
/// Binds the distribution port to the loopback, and keeps idle schedulers from spinning: tests share two
/// cores.
const ERL_ARGS: &str = "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none";

/// A running or stopped node; dropping it stops the node and removes its data.
#[derive(Debug)]
pub struct RabbitNode {
    // Fields drop in this order: first the node, then epmd, then the data, then the ports.
    node: Process,
    _epmd: Process,
    directory: TempDir,
    ports: PortBlock,
    password: String,
}

static SHARED: OnceCell<RabbitNode> = OnceCell::const_new();

/// The node that all tests of this process share; the first call starts it.
pub async fn shared() -> Result<&'static RabbitNode> {
    SHARED.get_or_try_init(RabbitNode::start).await
}

impl RabbitNode {
    /// Starts a node and waits until it accepts AMQP connections.
    pub async fn start() -> Result<Self> {
        Self::start_with(|configuration| configuration).await
    }

    /// Starts a node with a modified `rabbitmq.conf`; the listener and the account must remain.
    pub async fn start_with(configuration: impl FnOnce(String) -> String) -> Result<Self> {
        Self::start_configured(|usual, _| configuration(usual)).await
    }

    /// Starts a node that also accepts TLS on [`RabbitNode::tls_port`], from clients with a certificate
    /// signed by the authority in `clients`. The node reads the files when it starts.
    pub async fn start_secured(server: &PairFiles, clients: &Path) -> Result<Self> {
        Self::start_configured(|usual, ports| {
            format!(
                "{usual}listeners.ssl.1 = 127.0.0.1:{}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
                 ssl_options.cacertfile = {}\nssl_options.verify = verify_peer\n\
                 ssl_options.fail_if_no_peer_cert = true\n",
                ports.port(3),
                server.cert.display(),
                server.key.display(),
                clients.display()
            )
        })
        .await
    }

    async fn start_configured(configuration: impl FnOnce(String, &PortBlock) -> String) -> Result<Self> {
        if !Path::new(SERVER).exists() {
            bail!("{SERVER} is missing: run `make deps` (it installs Debian's rabbitmq-server)");
        }
        let ports = PortBlock::reserve()?;
        let directory =
            tempfile::Builder::new().prefix("trove-rabbit-").tempdir().context("no temporary directory")?;
        let password = hex::encode(rand::random::<[u8; 12]>());
        write_configuration(
            directory.path(),
            &configuration(usual_configuration(&ports, &password), &ports),
        )?;
        let epmd = start_epmd(directory.path(), &ports).await?;
        let node = spawn_node(directory.path(), &ports)?;
        let mut this = Self { node, _epmd: epmd, directory, ports, password };
        this.wait_until_ready().await?;
        Ok(this)
    }

    /// The process id of the current run, for `/proc`.
    pub fn pid(&self) -> u32 {
        self.node.pid()
    }

    /// The AMQP port on 127.0.0.1; the same after [`RabbitNode::start_again`].
    pub fn port(&self) -> u16 {
        self.ports.port(0)
    }

    /// The TLS port on 127.0.0.1 of a node that was started with TLS.
    pub fn tls_port(&self) -> u16 {
        self.ports.port(3)
    }

    /// The address as oslo.messaging's `transport_url`, virtual host `/`.
    pub fn transport_url(&self) -> String {
        self.transport_url_at(self.port())
    }

    /// The transport URL with a different port, that of a proxy to the node.
    pub fn transport_url_at(&self, port: u16) -> String {
        format!("rabbit://{USER}:{}@127.0.0.1:{port}//", self.password)
    }

    /// The address as an AMQP URI for lapin, virtual host `/`.
    pub fn amqp_uri(&self) -> String {
        format!("amqp://{USER}:{}@127.0.0.1:{}/%2f", self.password, self.port())
    }

    /// The AMQP URI for a different account, whose name and password need no encoding.
    pub fn amqp_uri_of(&self, user: &str, password: &str) -> String {
        format!("amqp://{user}:{password}@127.0.0.1:{}/%2f", self.port())
    }

    /// A directory with a `rabbitmqctl` for this node, to be prepended to `PATH`. Each run takes 5 s.
    pub fn rabbitmqctl(&self) -> Result<PathBuf> {
        let directory = self.directory.path().join("bin");
        std::fs::create_dir_all(&directory)?;
        let program = directory.join("rabbitmqctl");
        let script = format!(
            "#!/bin/sh\nexport HOME='{0}/home' RABBITMQ_NODENAME=t{1}@localhost ERL_EPMD_PORT={2}\n\
             export RABBITMQ_CONF_ENV_FILE='{0}/rabbitmq-env.conf'\nexec {CTL} \"$@\"\n",
            self.directory.path().display(),
            self.port(),
            self.ports.port(2),
        );
        std::fs::write(&program, script)?;
        std::fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        Ok(directory)
    }

    /// The node's log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log/node.log")).unwrap_or_default()
    }

    /// Kills the node with SIGKILL, like a crash; [`RabbitNode::start_again`] finds its durable state.
    pub fn kill9(&mut self) -> Result<()> {
        self.node.kill9()
    }

    /// Sends a signal, e.g. `STOP` and `CONT` to make the node hang.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.node.signal(signal)
    }

    /// Stops the node cleanly (SIGTERM, about 1 s).
    pub async fn stop(&mut self) -> Result<()> {
        self.node.signal(Signal::TERM)?;
        self.node.exit_within(STOP_LIMIT).await?;
        Ok(())
    }

    /// Starts the node again on the same port with its durable state.
    pub async fn start_again(&mut self) -> Result<()> {
        if self.node.status()?.is_none() {
            bail!("the RabbitMQ node still runs: stop or kill it first");
        }
        self.node = spawn_node(self.directory.path(), &self.ports)?;
        self.wait_until_ready().await
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !speaks_amqp(self.port()).await {
            if let Some(status) = self.node.status()? {
                bail!("RabbitMQ ended while starting ({status}): {}", self.last_words());
            }
            if Instant::now() >= deadline {
                bail!("RabbitMQ does not speak AMQP after {START_LIMIT:?}: {}", self.last_words());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let output = std::fs::read_to_string(self.directory.path().join("output")).unwrap_or_default();
        let text = format!("{output}{}", self.log());
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

/// The account is part of the configuration because adding it with `rabbitmqctl` takes 5 s.
fn usual_configuration(ports: &PortBlock, password: &str) -> String {
    let port = ports.port(0);
    format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\nloopback_users = none\ndefault_vhost = /\n\
         default_user = {USER}\ndefault_pass = {password}\n\
         default_permissions.configure = .*\ndefault_permissions.read = .*\ndefault_permissions.write = .*\n\
         log.file.level = info\n"
    )
}

fn write_configuration(directory: &Path, configuration: &str) -> Result<()> {
    for (name, text) in
        [("rabbitmq.conf", configuration), ("enabled_plugins", "[].\n"), ("rabbitmq-env.conf", "")]
    {
        std::fs::write(directory.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    std::fs::create_dir(directory.join("home")).context("cannot create the node's home")
}

/// Starts an epmd in the foreground: a daemon would outlive the node and keep its name registered.
async fn start_epmd(directory: &Path, ports: &PortBlock) -> Result<Process> {
    let port = ports.port(2);
    let mut command = Command::new("epmd");
    command.args(["-port", &port.to_string(), "-address", "127.0.0.1"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir(directory);
    let mut epmd = Process::spawn(&mut command, None)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if epmd.status()?.is_some() || Instant::now() >= deadline {
            bail!("epmd does not listen on 127.0.0.1:{port}");
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(epmd)
}

fn spawn_node(directory: &Path, ports: &PortBlock) -> Result<Process> {
    let output = File::options().create(true).append(true).open(directory.join("output"))?;
    let mut command = Command::new(SERVER);
    command
        .env("HOME", directory.join("home"))
        // `localhost` is never resolved over the network, unlike the machine's own name.
        .env("RABBITMQ_NODENAME", format!("t{}@localhost", ports.port(0)))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", ports.port(0).to_string())
        .env("RABBITMQ_DIST_PORT", ports.port(1).to_string())
        .env("ERL_EPMD_PORT", ports.port(2).to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_MNESIA_BASE", directory.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", directory.join("log"))
        .env("RABBITMQ_LOGS", directory.join("log/node.log"))
        .env("RABBITMQ_PID_FILE", directory.join("node.pid"))
        .env("RABBITMQ_CONFIG_FILE", directory.join("rabbitmq"))
        .env("RABBITMQ_CONF_ENV_FILE", directory.join("rabbitmq-env.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", directory.join("enabled_plugins"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERL_ARGS)
        // Makes the script `exec` Erlang, so that the pid is the node's and not a shell's.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env_remove("NOTIFY_SOCKET")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    Process::spawn(&mut command, Some(directory))
}

/// Whether the peer answers AMQP's protocol header with a method frame (type 1): `Connection.Start`.
async fn speaks_amqp(port: u16) -> bool {
    let greet = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        stream.read_u8().await
    };
    matches!(timeout(Duration::from_secs(5), greet).await, Ok(Ok(1)))
}
