//! Private nodes of a real CouchDB, from the releases that `COUCHDB_HOME` names.
//!
//! Callers: tests that need their own server: with particular settings, to be stopped, killed or upgraded, or
//! three nodes as a cluster. Each node has its data in a temporary directory and listens on 127.0.0.1;
//! dropping it stops the node and removes the data. Without a release the tests print a line and count as
//! skipped ([`crate::ledger`]):
//!
//! ```text
//! let plan = RealPlan::default().ini("[couch_peruser]\nenable = true");
//! let Some(node) = plan.up().await? else { return Ok(()) };
//! let fixture = FixturePlan::default().on(&node).up().await?;
//! ```
//!
//! The server of `COUCHDB_URL` is handled by [`crate::shared_server`].

mod cluster;
mod files;
mod node;
mod release;

use anyhow::Result;
use tokio::sync::OnceCell;

pub use cluster::RealCluster;
pub use node::RealNode;
pub use release::Release;

use crate::ledger;

/// Whether tests have a real CouchDB: `COUCHDB_URL` or a release.
pub fn configured() -> bool {
    [release::VARIABLE, crate::couch::URL_VARIABLE]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Whether tests can have their own nodes.
pub(crate) fn has_releases() -> bool {
    std::env::var_os(release::VARIABLE).is_some_and(|value| !value.is_empty())
}

/// The properties of a test's node.
#[derive(Debug, Clone, Default)]
pub struct RealPlan {
    ini: String,
    version: Option<String>,
    without_admin: bool,
    /// The size of the file system of the databases; `None` for that of the temporary directory.
    disk_mib: Option<u32>,
    /// The settings that are the same on all nodes of a cluster.
    cluster: Option<String>,
}

impl RealPlan {
    /// Adds lines to an ini file of the node, e.g. `"[log]\nlevel = debug"`.
    #[must_use]
    pub fn ini(mut self, lines: &str) -> Self {
        self.ini.push_str(lines);
        self.ini.push('\n');
        self
    }

    /// Requires a release of this version, e.g. `"3.3"`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = Some(version.to_owned());
        self
    }

    /// Leaves the ini files without an admin: the node exits at its start until there is one (see
    /// [`RealNode::wait_ready`]).
    #[must_use]
    pub fn without_admin(mut self) -> Self {
        self.without_admin = true;
        self
    }

    /// Puts the databases on a small disk of their own ([`RealNode::disk`]), which requires root.
    #[must_use]
    pub fn disk_mib(mut self, size: u32) -> Self {
        self.disk_mib = Some(size);
        self
    }

    /// Starts a node and waits until it answers; `None`, reported as skipped, if there is no such release.
    pub async fn up(self) -> Result<Option<RealNode>> {
        let Some(mut node) = self.start()? else { return Ok(None) };
        node.wait_ready().await?;
        Ok(Some(node))
    }

    /// Starts a node without waiting.
    pub fn start(self) -> Result<Option<RealNode>> {
        let Some(release) = self.release()? else { return Ok(None) };
        let started = RealNode::start(release, &self)?;
        if started.is_some() {
            ledger::used(ledger::What::Real);
        }
        Ok(started)
    }

    /// Starts three nodes and joins them; `None`, reported as skipped, if there is no such release.
    pub async fn cluster(self) -> Result<Option<RealCluster>> {
        let Some(release) = self.release()? else { return Ok(None) };
        ledger::used(ledger::What::Real);
        RealCluster::start(&release, self).await.map(Some)
    }

    fn release(&self) -> Result<Option<Release>> {
        let wanted = self.version.as_deref();
        let found =
            Release::all()?.into_iter().find(|release| wanted.is_none_or(|wanted| release.is(wanted)));
        if found.is_none() {
            let version = wanted.map(|version| format!(" {version}")).unwrap_or_default();
            ledger::skipped(&format!(
                "it needs a real CouchDB{version}: name the directory of a release in {}",
                release::VARIABLE
            ));
        }
        Ok(found)
    }
}

/// The node that replaces `COUCHDB_URL`, shared by all tests of this process; `None` without a release.
pub(crate) async fn shared() -> Result<Option<&'static RealNode>> {
    static SHARED: OnceCell<Option<RealNode>> = OnceCell::const_new();
    let started = SHARED.get_or_try_init(|| async {
        let Some(release) = Release::all()?.into_iter().next() else { return Ok(None) };
        let Some(mut node) = RealNode::start(release, &RealPlan::default())? else { return Ok(None) };
        node.wait_ready().await?;
        anyhow::Ok(Some(node))
    });
    Ok(started.await?.as_ref())
}
