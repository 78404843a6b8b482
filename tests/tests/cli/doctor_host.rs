//! `doctor` with broken files and a broken machine: it names each problem by its id, and suggests a fix.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::Value;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};

use crate::tool::Tool;

/// The findings of the doctor, and its exit code.
#[derive(Debug)]
pub struct Found {
    pub code: Option<i32>,
    checks: BTreeMap<String, Value>,
}

impl Found {
    /// Runs the doctor.
    pub async fn by(cli: &Tool) -> Result<Self> {
        let ended = cli.run(&["doctor", "-o", "json"]).await?;
        let document: Value = serde_json::from_str(&ended.output).with_context(|| format!("{ended:?}"))?;
        let checks = document["checks"].as_array().unwrap().iter();
        let checks: BTreeMap<_, _> =
            checks.map(|check| (check["id"].as_str().unwrap().to_owned(), check.clone())).collect();
        assert!(checks.len() >= 25, "each check is told: {ended:?}");
        for check in checks.values() {
            let wants_advice = ["failed", "warning"].contains(&check["status"].as_str().unwrap());
            assert_eq!(
                check["advice"].as_str().is_some_and(|text| !text.is_empty()),
                wants_advice,
                "{check}"
            );
        }
        Ok(Self { code: ended.code, checks })
    }

    pub fn status(&self, id: &str) -> &str {
        self.checks[id]["status"].as_str().unwrap()
    }

    pub fn detail(&self, id: &str) -> &str {
        self.checks[id]["detail"].as_str().unwrap()
    }

    /// The advice; empty if there is none.
    pub fn advice(&self, id: &str) -> &str {
        self.checks[id]["advice"].as_str().unwrap_or_default()
    }

    /// The ids of the failed checks.
    pub fn failed(&self) -> Vec<&str> {
        let failed = self.checks.iter().filter(|(_, check)| check["status"] == "failed");
        // The disk usage and the clock of the test machine are not the test's responsibility.
        let ours = failed.map(|(id, _)| id.as_str());
        ours.filter(|id| !id.starts_with("host.disk") && *id != "host.clock").collect()
    }

    /// Asserts that exactly these checks failed, and that the exit code agrees.
    #[track_caller]
    pub fn must_have_failed(&self, ids: &[&str]) {
        // The access rights of a real CouchDB's files are not either.
        let is_real = std::env::var_os("COUCHDB_URL").is_some();
        let of_the_server = |id: &str| is_real && id == "couchdb.ini_files" && !ids.contains(&id);
        let failed: Vec<_> = self.failed().into_iter().filter(|id| !of_the_server(id)).collect();
        assert_eq!(failed, ids, "{:#?}", self.checks);
        if !ids.is_empty() {
            assert_eq!(self.code, Some(1), "{:#?}", self.checks);
        }
    }
}

async fn fixture() -> Result<(LocalFixture, Tool)> {
    let fixture =
        LocalFixtureBuilder::default().in_memory(in_memory_couchdb::Options::default()).up().await?;
    let cli = Tool::configured(&fixture.agent);
    Ok((fixture, cli))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_set_up_without_a_broker() -> Result<()> {
    let (_stage, cli) = fixture().await?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&[]);
    for id in ["config.load", "agent.socket", "credentials.mode", "couchdb.login", "databases.public"] {
        assert_eq!(found.status(id), "ok", "{found:#?}");
    }
    assert_eq!(found.status("broker.login"), "skipped");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_key() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    let file = fixture.agent.directory().join("agent.toml");
    let text = std::fs::read_to_string(&file)?.replace("credentials_file", "credentals_file");
    std::fs::write(&file, text)?;
    let found = Found::by(&cli).await?;
    assert!(found.failed().contains(&"config.load"), "{found:#?}");
    assert!(found.detail("config.load").contains("credentials_file"), "it names the key that was meant");
    // If the doctor knows the socket, it still asks the agent.
    let told = Tool::local(&fixture.agent);
    Found::by(&told).await?.must_have_failed(&["config.load"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_missing_open_broken_or_anothers() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    let path = fixture.agent.credentials_file();
    let mode = |bits| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits));
    mode(0o644)?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["credentials.mode"]);
    assert!(found.detail("credentials.mode").contains("0644"));
    assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o644, "the doctor changes nothing");
    mode(0o600)?;

    if rustix_is_root() {
        std::os::unix::fs::chown(&path, Some(12_345), None)?;
        Found::by(&cli).await?.must_have_failed(&["credentials.owner"]);
        std::os::unix::fs::chown(&path, Some(0), None)?;
    }

    let content = std::fs::read_to_string(&path)?;
    std::fs::write(&path, "{\"username\": \"os_admin\", \"pass")?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["credentials.file"]);
    assert_eq!(found.status("couchdb.login"), "skipped");

    std::fs::remove_file(&path)?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["credentials.file"]);
    assert!(found.detail("credentials.file").contains("is missing"));
    std::fs::write(&path, content)?;
    mode(0o600)?;
    Found::by(&cli).await?.must_have_failed(&[]);
    Ok(())
}

fn rustix_is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_down_and_one_that_hangs() -> Result<()> {
    let (mut fixture, cli) = fixture().await?;
    fixture.agent.signal(trove_couchdb_tests::process::Signal::STOP)?;
    let cli_in_a_hurry = Tool::configured(&fixture.agent);
    let ended = cli_in_a_hurry.run(&["doctor", "--timeout", "1", "-o", "value"]).await?;
    assert!(ended.output.contains("agent.socket\tfailed\tno answer"), "{ended:?}");
    fixture.agent.signal(trove_couchdb_tests::process::Signal::CONT)?;
    fixture.agent.terminate().await?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["agent.socket"]);
    assert_eq!(found.status("couchdb.login"), "ok", "what does not need the agent is looked at");
    assert_eq!(found.status("databases.public"), "ok");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_state_and_a_heartbeat_from_the_future() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    let files = fixture.agent.directory().join("state");
    std::fs::write(files.join("prepared.json"), "yes")?;
    let ahead = SystemTime::now().duration_since(UNIX_EPOCH)? + Duration::from_secs(7_200);
    std::fs::write(files.join("last_sent"), format!("{}.5\n", ahead.as_secs()))?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["agent.prepared", "host.last_sent"]);
    assert!(found.detail("host.last_sent").contains("ahead of this clock"));
    Ok(())
}
