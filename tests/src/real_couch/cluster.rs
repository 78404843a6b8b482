//! Three private nodes as one cluster.
//!
//! Callers: tests, through [`super::RealPlan::cluster`]. The nodes find each other through their own epmd and
//! use nothing of the machine's Erlang.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::files::Address;
use super::node::RealNode;
use super::{RealPlan, Release};
use crate::couch::Credentials;
use crate::ports::PortBlock;
use crate::process::Process;
use crate::until::until;

const NODES: usize = 3;
const SYSTEM_DATABASES: &[&str] = &["/_users", "/_replicator", "/_global_changes"];
/// Only stops a hung test.
const EPMD_LIMIT: Duration = Duration::from_secs(300);

/// A cluster that keeps three copies of each database, one on each node.
#[derive(Debug)]
pub struct RealCluster {
    /// The nodes; all have the same admin.
    pub nodes: Vec<RealNode>,
    // Dropped after the nodes that use them.
    _epmd: Process,
    _ports: Vec<PortBlock>,
}

impl RealCluster {
    pub(super) async fn start(release: &Release, mut plan: RealPlan) -> Result<Self> {
        let ports = (0..NODES).map(|_| PortBlock::reserve()).collect::<Result<Vec<_>>>()?;
        let names = ports.first().context("no nodes")?.port(2);
        let epmd = start_epmd(release, names).await?;
        let random = || hex::encode(rand::random::<[u8; 16]>());
        let admin = Credentials::new("first_admin", &random());
        let cookie = random();
        plan.cluster =
            Some(format!("[couchdb]\nuuid = {}\n\n[chttpd_auth]\nsecret = {}\n", random(), random()));
        let mut nodes = Vec::new();
        for block in &ports {
            let address =
                Address { port: block.port(0), cluster: Some((block.port(1), names)), is_renamed: false };
            let node = RealNode::start_at(release.clone(), &plan, address, admin.clone(), &cookie)?;
            nodes.push(node.context("a node without a disk of its own starts")?);
        }
        for node in &mut nodes {
            node.wait_ready().await?;
        }
        let cluster = Self { nodes, _epmd: epmd, _ports: ports };
        cluster.join().await?;
        Ok(cluster)
    }

    /// Waits until each running node sees all `expected` nodes of the cluster.
    pub async fn wait_members(&self, running: &[usize], expected: usize) -> Result<()> {
        until("nodes that see each other", async || {
            for &index in running {
                let seen = self.nodes[index].admin_request(Method::GET, "/_membership", None).await?;
                if seen["all_nodes"].as_array().map(Vec::len) != Some(expected) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }

    async fn join(&self) -> Result<()> {
        let Some((first, others)) = self.nodes.split_first() else { return Ok(()) };
        for node in others {
            let path = format!("/_node/_local/_nodes/{}", node.node_name());
            first.admin_request(Method::PUT, &path, Some(&json!({}))).await?;
        }
        self.wait_members(&[0, 1, 2], NODES).await?;
        for path in SYSTEM_DATABASES {
            first.admin_request(Method::PUT, path, None).await?;
        }
        // A cluster installs the validation of `_users` some seconds later; until then any document could be
        // written to it.
        until("the guard of _users", async || {
            for node in &self.nodes {
                let (status, _) = node.client()?.get("/_users/_design/_auth", Some(node.admin())).await?;
                if !status.is_success() {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }
}

async fn start_epmd(release: &Release, port: u16) -> Result<Process> {
    let runtime = std::fs::read_dir(&release.directory)?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("erts-"))
        .with_context(|| format!("there is no erts-VERSION in {}", release.directory.display()))?;
    let mut command = Command::new(runtime.path().join("bin/epmd"));
    command.args(["-port", &port.to_string(), "-address", "127.0.0.1"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut epmd = Process::spawn(&mut command, None)?;
    let deadline = Instant::now() + EPMD_LIMIT;
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if epmd.status()?.is_some() || Instant::now() >= deadline {
            bail!("epmd does not listen on 127.0.0.1:{port}");
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(epmd)
}
