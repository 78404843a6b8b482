//! A different CouchDB version after a restart, and what bootstrap closes and removes.

use std::path::Path;

use anyhow::{Context, Result};
use in_memory_couchdb::{InMemoryCouch, Options, Version};
use serde_json::{Value, json};
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess};
use trove_couchdb_tests::couch::{CouchClient, Credentials};
use trove_couchdb_tests::local::LocalClient;
use trove_couchdb_tests::local_fixture::LocalFixtureBuilder;
use trove_couchdb_tests::until::until;

/// The account of an agent that does not run as root.
const NOBODY: u32 = 65_534;
const BOSS: (&str, &str) = ("boss", "boss-pw");

fn stored(version: Version, port: u16, file: &Path) -> Options {
    let options =
        Options { port, keep: Some(file.to_owned()), iterations: Some(500), ..Options::new(version) };
    options.admin(BOSS.0, BOSS.1)
}

async fn started(options: Options) -> Result<InMemoryCouch> {
    // The previous server's port may take a moment to become free.
    let mut last = None;
    for _ in 0..200 {
        match InMemoryCouch::start(options.clone()).await {
            Ok(couch) => return Ok(couch),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Err(last.context("never tried")?.into())
}

/// Between two probes of the agent: no request has failed, and none has shown the new version.
///
/// Mutation: upgrade-unnoticed (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn the_first_password_after_an_upgrade_or_downgrade_is_hashed_for_the_new_version() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("kept.json");
    let mut couch = started(stored(Version::V3_3, 0, &file)).await?;
    let port = couch.port();
    let options = AgentOptions::without_broker(&couch.url())
        .bootstrap_admin(BOSS.0, BOSS.1)
        .set("couchdb.sha256_iterations", 1000)
        .set("heartbeat.interval", 3600);
    let agent = AgentProcess::start_ready(options).await?;
    let local = LocalClient::connect(&agent.socket()).await?;
    let client = CouchClient::new(&couch.url())?;
    let versions = [Version::V3_3, Version::V3_5, Version::V3_3, Version::V3_5];
    for (number, version) in versions.into_iter().enumerate() {
        if number > 0 {
            couch.stop().await;
            drop(couch);
            couch = started(stored(version, port, &file)).await?;
        }
        let name = format!("al{number}");
        let user = json!({"_name": name, "_host": "%", "_password": "al-pw", "_databases": []});
        local.call("create_user", json!({ "users": [user] })).await?;
        let boss = Credentials::new(BOSS.0, BOSS.1);
        let document = client.get(&format!("/_users/org.couchdb.user%3A{name}"), Some(&boss)).await?.1;
        let expected = if version == Version::V3_3 { Value::Null } else { "sha256".into() };
        assert_eq!(document["pbkdf2_prf"], expected, "{name} on {version:?}");
        assert!(client.logs_in(&Credentials::new(&name, "al-pw")).await?, "{name} on {version:?}");
    }
    let reported = local.call("get_agent_status", json!({})).await?;
    assert_eq!(reported["couchdb"]["version"], "3.5");
    Ok(())
}

/// With `default_security = everyone` every user could make the server copy databases.
///
/// Mutation: replicator-stays-open (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn couchdbs_own_databases_are_closed_and_members_stay() -> Result<()> {
    let document = json!({"source": "http://127.0.0.1:1/a", "target": "http://127.0.0.1:1/b"});
    for version in [Version::V1, Version::V2, Version::V3_3, Version::V3_5] {
        let quick = Options { iterations: Some(500), ..Options::new(version) };
        let everyone = quick.set("couchdb", "default_security", "everyone");
        let mut fixture = LocalFixtureBuilder::default()
            .in_memory(everyone)
            .set("couchdb.sha256_iterations", 1000)
            .up()
            .await?;
        let (status, answer) = fixture.client.put("/_replicator/evil", None, &document).await?;
        assert!(status.is_client_error(), "{version:?}: {status} {answer}");
        let admin = fixture.couch.admin().clone();
        let members = json!({"members": {"names": ["al"]}, "kept": 1});
        assert!(fixture.client.put("/_replicator/_security", Some(&admin), &members).await?.0.is_success());
        fixture.agent.terminate().await?;
        fixture.agent.start_again()?;
        fixture.agent.wait_ready().await?;
        assert_eq!(fixture.client.get("/_replicator/_security", Some(&admin)).await?.1, members);
    }
    Ok(())
}

/// `kill -9` between writing a file and renaming it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_agent_left_is_removed_at_the_next_start() -> Result<()> {
    let quick = Options { iterations: Some(500), ..Options::default() };
    let builder = LocalFixtureBuilder::default().in_memory(quick).set("couchdb.sha256_iterations", 1000);
    let mut fixture = builder.up().await?;
    fixture.agent.kill9()?;
    let state_dir = fixture.agent.directory().join("state");
    let beside = fixture.agent.credentials_file().parent().context("no directory")?.to_owned();
    let left = [
        state_dir.join(".trove-couchdb-agent-AbCdEf.new"),
        state_dir.join(".tmpAbCdEf"),
        beside.join(".trove-couchdb-agent-XyZ123.new"),
    ];
    let others = [state_dir.join(".tmp"), state_dir.join("notes"), beside.join(".tmpAbCdEf")];
    for file in left.iter().chain(&others) {
        std::fs::write(file, "{\"password\": \"hunter2\"}")?;
    }
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    assert!(left.iter().all(|file| !file.exists()));
    assert!(others.iter().all(|file| file.exists()));
    Ok(())
}

/// One log line for each change of state, not for each try: the agent tries every two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_local_d_that_takes_no_file_is_said_once_and_in_the_status() -> Result<()> {
    let place = tempfile::tempdir()?;
    let local_d = place.path().join("local.d");
    std::fs::create_dir(&local_d)?;
    let set_mode = |mode| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&local_d, std::fs::Permissions::from_mode(mode))
    };
    let nobody = rustix::process::geteuid().is_root().then_some(NOBODY);
    std::os::unix::fs::chown(&local_d, nobody, nobody)?;
    set_mode(0o555)?;
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut options = AgentOptions::without_broker(&format!("http://127.0.0.1:{port}"))
        .set("couchdb.local_ini_dir", local_d.to_string_lossy().into_owned())
        .set("heartbeat.interval", 1);
    options.user = nobody;
    let agent = AgentProcess::start(options)?;
    let reason = format!("no file can be made in {}", local_d.display());
    until("the reason in the status", async || {
        let Ok(local) = LocalClient::connect(&agent.socket()).await else { return Ok(false) };
        let reported = local.call("get_agent_status", json!({})).await?;
        Ok(reported["couchdb"]["reason"].as_str().is_some_and(|reported| reported.contains(&reason)))
    })
    .await?;
    // Time for several more tries.
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    let logs = agent.logs();
    let count = |text: &str| logs.lines().filter(|line| line.contains(text)).count();
    assert_eq!(count("No os_admin login on CouchDB yet."), 1, "{logs}");
    assert_eq!(count("InstallIni"), 1, "{logs}");
    set_mode(0o755)?;
    until("the ini file", async || Ok(local_d.join("zz-trove-os-admin.ini").exists())).await
}
