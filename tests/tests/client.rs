//! The client of CouchDB as a library: streams that outlive a password change, and the nodes of a cluster by
//! name.
//!
//! With `COUCHDB_HOME` it runs against a real server; the cluster test requires one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{io, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio_util::{bytes::Bytes, sync::CancellationToken};
use trove_couchdb_agent::bootstrap::{Bootstrap, Rotator};
use trove_couchdb_client::{
    AdminLogin, Client, ConfigRoot, Couch, Disk, Download, Hasher, Iterations, Limits, Method, PendingEdits,
    Policy, Resource, Upload,
};
use trove_couchdb_config::{Override, Settings, Sources};
use trove_couchdb_tests::couch::{CouchServer, Credentials};
use trove_couchdb_tests::real_couch::RealBuilder;
use trove_couchdb_tests::until::until;

/// More than the sockets of both sides can buffer.
const DOCUMENTS: usize = 40;
const PADDING: usize = 1 << 20;

/// The client's time-out. A stream may take longer, and an upload keeps its login for this long.
const LIMIT: Duration = Duration::from_secs(30);

/// A client with the agent's own bootstrap, in this process.
struct Administered {
    couch: Arc<Couch>,
    rotator: Rotator,
    directory: tempfile::TempDir,
    stopping: CancellationToken,
}

impl Drop for Administered {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

impl Administered {
    async fn up(url: &str, admin: &Credentials) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let settings = settings(directory.path(), url, admin)?.couchdb;
        let limits = Limits { connect: LIMIT, request: LIMIT, connections: 4 };
        let client = Client::new(&settings.url, limits, settings.tls.clone());
        let (writer, admin) = watch::channel(AdminLogin::Pending("not asked yet".to_owned()));
        let hasher = Hasher::new(Iterations { sha256: 1_000, sha1: 10 });
        let (rotator, rotations, _due) = Rotator::new(admin.clone());
        let (state, stopping) = (directory.path().to_owned(), CancellationToken::new());
        let bootstrap =
            Bootstrap::new(settings, state, client.clone(), hasher.clone(), writer, stopping.clone());
        tokio::spawn(bootstrap.run(rotations));
        let mut ready = admin.clone();
        ready.wait_for(|login| matches!(login, AdminLogin::Ready(_))).await?;
        let disk = Disk::new(Path::new("/"), 0, false);
        let couch = Couch::new(client, admin, hasher, Policy::new(&[], &[]), PendingEdits::default(), disk);
        Ok(Self { couch: Arc::new(couch), rotator, directory, stopping })
    }

    fn password(&self) -> Result<String> {
        let file: Value = serde_json::from_slice(&std::fs::read(self.directory.path().join("creds.json"))?)?;
        file["password"].as_str().map(str::to_owned).context("no password")
    }

    /// Rotates `os_admin`'s password.
    async fn rotate(&self) -> Result<()> {
        let old = self.password()?;
        self.rotator.rotate().await?;
        assert_ne!(self.password()?, old);
        Ok(())
    }
}

fn settings(directory: &Path, url: &str, admin: &Credentials) -> Result<Settings> {
    let text = |key, text: &str| Override { key, option: "test", text: text.to_owned() };
    let file = directory.join("creds.json");
    let overrides = vec![
        text("couchdb.url", url),
        text("couchdb.credentials_file", &file.to_string_lossy()),
        text("couchdb.bootstrap_admin", &admin.name),
        text("couchdb.bootstrap_admin_password", &admin.password),
        text("broker.transport_url", "local:"),
    ];
    let config_file = Some(directory.join("agent.toml"));
    std::fs::write(directory.join("agent.toml"), "")?;
    let oslo_dirs = vec![directory.to_owned()];
    Ok(Settings::load(
        Sources { config_file, oslo_dirs, overrides, ..Sources::default() },
        std::iter::empty(),
    )?)
}

/// The body of `_bulk_docs` with that many users, one chunk for each.
fn documents() -> Vec<Bytes> {
    let document = |number: usize| {
        let name = format!("stream-{number:03}");
        let document = json!({
            "_id": format!("org.couchdb.user:{name}"), "name": name, "type": "user", "roles": [],
            "padding": "x".repeat(PADDING),
        });
        format!("{}{document}", if number == 0 { "{\"docs\":[" } else { "," })
    };
    (0..DOCUMENTS).map(document).chain(["]}".to_owned()]).map(Bytes::from).collect()
}

async fn read_all(download: &mut Download) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = download.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

fn everything() -> Resource<'static> {
    Resource::UsersWithConflicts { start: "stream-", limit: DOCUMENTS }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_while_the_password_changes() -> Result<()> {
    let server = CouchServer::alone().await?;
    let couchdb = Administered::up(&server.url(), server.admin()).await?;

    // The last chunks wait until the password has changed; meanwhile white space keeps the upload active.
    let mut pieces = documents();
    let last = pieces.split_off(pieces.len() / 2);
    let (go_on, changed) = oneshot::channel::<()>();
    let waiting = stream::unfold(changed, |mut changed| async move {
        let going_on = tokio::time::timeout(LIMIT / 10, &mut changed).await;
        going_on.is_err().then(|| (Bytes::from_static(b"\n"), changed))
    });
    let body = stream::iter(pieces).chain(waiting).chain(stream::iter(last)).map(io::Result::Ok);
    let couch = Arc::clone(&couchdb.couch);
    let uploading =
        tokio::spawn(
            async move { couch.upload(Method::POST, &Resource::UsersBulk, Upload::new(body)).await },
        );
    tokio::time::sleep(LIMIT / 3).await;
    // The in-memory CouchDB checks the login after it has received the whole body.
    if server.memory().is_none() {
        couchdb.rotate().await?;
    }
    go_on.send(()).unwrap();
    let written = uploading.await??;
    assert_eq!(written.as_array().map(Vec::len), Some(DOCUMENTS), "{written}");

    let longest = 2 * u64::try_from(DOCUMENTS * PADDING)?;
    let mut download = couchdb.couch.download(&everything(), longest).await?;
    let first = download.next().await?.context("nothing came")?;
    couchdb.rotate().await?;
    assert!(couchdb.couch.user_exists(&"stream-000".parse()?).await?, "others go on with the new password");
    let rest = read_all(&mut download).await?;
    let rows: Value = serde_json::from_slice(&[&first[..], &rest].concat())?;
    assert_eq!(rows["rows"].as_array().map(Vec::len), Some(DOCUMENTS));

    let mut cut = couchdb.couch.download(&everything(), 1 << 20).await?;
    let too_long = read_all(&mut cut).await.unwrap_err().to_string();
    assert!(too_long.contains("longer than was allowed"), "{too_long}");
    Ok(())
}

/// Each node has its own configuration and administrators, which any other node can query.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_asked_by_its_name() -> Result<()> {
    let Some(cluster) = RealBuilder::default().cluster().await? else { return Ok(()) };
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    let couchdb = Administered::up(&first.url(), first.admin()).await?;
    let membership = couchdb.couch.membership().await?;
    assert_eq!((membership.cluster.len(), membership.missing().count()), (3, 0), "{membership:?}");
    let node = membership.cluster.iter().find(|node| node.as_str() == second.node_name()).cloned();
    let other = ConfigRoot::Node(node.context("the second node is not named")?);

    let path = "/_node/_local/_config/couchdb/maintenance_mode";
    second.admin_request(reqwest::Method::PUT, path, Some(&json!("nolb"))).await?;
    until("the setting of the other node", async || {
        let there = couchdb.couch.server_settings_at(&other).await?;
        Ok(there.maintenance_mode.as_deref() == Some("nolb"))
    })
    .await?;
    let here = couchdb.couch.server_settings().await?;
    assert_ne!(here.maintenance_mode.as_deref(), Some("nolb"));

    let own = couchdb.couch.server().await?.config;
    assert!(couchdb.couch.admins_at(&own).await?.contains("os_admin"));
    let theirs = couchdb.couch.admins_at(&other).await?;
    assert!(!theirs.contains("os_admin") && theirs.contains(&second.admin().name), "{theirs:?}");
    Ok(())
}
