//! The files of a private node, in its own directory.
//!
//! Caller: [`super::RealNode`]. `etc/local.ini` and `etc/vm.args` are written at each start. The files in
//! `etc/local.d` are written once; afterwards only CouchDB and the test change them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{RealPlan, Release};
use crate::agent::write_private;
use crate::couch::Credentials;

/// A node's ports, which also determine its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address {
    /// The HTTP port.
    pub port: u16,
    /// The ports of Erlang's distribution and of epmd; `None` for a node outside a cluster.
    pub cluster: Option<(u16, u16)>,
    /// Whether a node outside a cluster has its second name.
    pub is_renamed: bool,
}

impl Address {
    /// The name in shard maps: it must stay the same as long as the data lives.
    pub fn node_name(self) -> String {
        match self.cluster {
            None if self.is_renamed => "renamed@127.0.0.1".to_owned(),
            None => "couchdb@127.0.0.1".to_owned(),
            Some(_) => format!("couchdb{}@127.0.0.1", self.port),
        }
    }
}

/// The directory that CouchDB reads last and so takes precedence.
pub(super) fn local_d(directory: &Path) -> PathBuf {
    directory.join("etc/local.d")
}

/// Writes the files that are written once.
pub(super) fn lay_out(directory: &Path, admin: &Credentials, plan: &RealPlan) -> Result<()> {
    for made in [directory.join("data"), local_d(directory)] {
        std::fs::create_dir_all(&made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    let single = if plan.cluster.is_none() { "[couchdb]\nsingle_node = true\n\n" } else { "" };
    let admins = format!("[admins]\n{} = {}\n", admin.name, admin.password);
    let admins = if plan.without_admin { "" } else { &admins };
    write_private(&local_d(directory).join("10-node.ini"), &format!("{single}{admins}"))?;
    if let Some(shared) = &plan.cluster {
        write_private(&local_d(directory).join("15-cluster.ini"), shared)?;
    }
    if plan.ini.is_empty() {
        return Ok(());
    }
    write_private(&local_d(directory).join("20-test.ini"), &plan.ini)
}

/// Writes the files that depend on release and address.
pub(super) fn write(directory: &Path, release: &Release, address: Address) -> Result<()> {
    let shown = directory.display();
    let copies = if address.cluster.is_some() { 3 } else { 1 };
    let ini = format!(
        "[couchdb]\ndatabase_dir = {shown}/data\nview_index_dir = {shown}/data\nuri_file = {shown}/couch.uri\n\n\
         [chttpd]\nport = {}\nbind_address = 127.0.0.1\n\n[log]\nwriter = stderr\nlevel = info\n\n\
         [cluster]\nn = {copies}\nq = 2\n\n[smoosh]\nstate_dir = {shown}/data\n\n[prometheus]\nadditional_port = false\n",
        address.port
    );
    write_private(&directory.join("etc/local.ini"), &ini)?;
    let usual = release.directory.join("etc/vm.args");
    let usual =
        std::fs::read_to_string(&usual).with_context(|| format!("cannot read {}", usual.display()))?;
    let ours = ["-name ", "-sname ", "-setcookie ", "#"];
    let mut arguments: Vec<String> = usual
        .lines()
        .filter(|line| {
            !line.trim().is_empty() && !ours.iter().any(|start| line.trim_start().starts_with(start))
        })
        .map(str::to_owned)
        .collect();
    arguments.push(format!("-name {}", address.node_name()));
    arguments.push("-start_epmd false".to_owned());
    match address.cluster {
        // The node's name is not registered, so several nodes can have the same name.
        None => arguments.push("-erl_epmd_port 0".to_owned()),
        Some((port, _)) => {
            arguments.push(format!("-kernel inet_dist_listen_min {port} inet_dist_listen_max {port}"));
        }
    }
    // Keeps idle schedulers from spinning: tests share two cores.
    arguments.push("+sbwt none +sbwtdcpu none +sbwtdio none\n".to_owned());
    write_private(&directory.join("etc/vm.args"), &arguments.join("\n"))
}

/// Writes the cookie with which nodes authenticate each other; in `vm.args` it would be visible in `ps`.
pub(super) fn write_cookie(directory: &Path, cookie: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let file = directory.join(".erlang.cookie");
    write_private(&file, cookie)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400))
        .context("cannot protect the cookie")
}
