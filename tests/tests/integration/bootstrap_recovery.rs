//! Changes between two runs of the agent, or during a run: files, administrators, the server.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::join_all;
use in_memory_couchdb::{Fault, InMemoryCouch, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_protocol::new_id;
use trove_couchdb_protocol::trove::{ConductorCast, ServiceStatus};
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess, write_private};
use trove_couchdb_tests::couch::{CouchClient, Credentials};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rabbitmq;
use trove_couchdb_tests::until::until;

const SOON: Duration = trove_couchdb_tests::until::HUNG;
const OUR_INI: &str = "zz-trove-os-admin.ini";

/// A 3.x whose only administrator is in its `local.d`.
fn by_ini(port: u16, local_d: &Path) -> Options {
    let mut options = Options { port, ..Options::default() };
    options.ini_dir = Some(local_d.to_owned());
    options
}

async fn agent_with_ini(port: u16, local_d: &Path, interval_s: i64) -> Result<AgentProcess> {
    let url = format!("http://127.0.0.1:{port}");
    let options = AgentOptions::new(&new_id(), &rabbitmq::shared().await?.transport_url(), &url)
        .set("couchdb.local_ini_dir", local_d.to_string_lossy().into_owned())
        .set("heartbeat.interval", interval_s);
    AgentProcess::start(options)
}

async fn start_couchdb(port: u16, local_d: &Path) -> Result<InMemoryCouch> {
    for _ in 0..6_000 {
        if let Ok(couch) = InMemoryCouch::start(by_ini(port, local_d)).await {
            return Ok(couch);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("CouchDB gets no administrator")
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn password(agent: &AgentProcess) -> Result<String> {
    let content: Value = serde_json::from_str(&std::fs::read_to_string(agent.credentials_file())?)?;
    Ok(content["password"].as_str().context("no password")?.to_owned())
}

fn refusals(couch: &InMemoryCouch) -> usize {
    couch.log().entries().iter().filter(|entry| entry.status == Some(401)).count()
}

/// The agent is killed before the server runs, after writing the ini file, and in each request of bootstrap.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_over_an_ini_file_survives_a_kill_at_any_request() -> Result<()> {
    for step in 0_u32.. {
        let local_d = tempfile::tempdir()?;
        let port = free_port()?;
        let mut agent = agent_with_ini(port, local_d.path(), 30).await?;
        let couch = start_couchdb(port, local_d.path()).await?;
        let before = password(&agent)?;
        agent.kill9()?;
        let ini = std::fs::read_to_string(local_d.path().join(OUR_INI))?;
        if step > 0 {
            couch.faults().add(Rule::new("*", "*", Fault::DelayMs(0)).times(step));
        }
        couch.faults().add(Rule::new("*", "*", Fault::Hang).times(1));
        agent.start_again()?;
        let hung = loop {
            if couch.faults().hits() > step as usize {
                break true;
            }
            if agent.logs().contains("CouchDB is bootstrapped") {
                break false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        agent.kill9()?;
        couch.faults().clear();
        agent.start_again()?;
        agent.wait_ready().await?;
        assert_eq!(password(&agent)?, before);
        assert_eq!(std::fs::read_to_string(local_d.path().join(OUR_INI))?, ini);
        if !hung {
            assert!(step >= 4, "bootstrap made only {step} requests");
            break;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_file_never_costs_an_ini_files_os_admin_its_password() -> Result<()> {
    let local_d = tempfile::tempdir()?;
    let port = free_port()?;
    let mut agent = agent_with_ini(port, local_d.path(), 30).await?;
    let couch = start_couchdb(port, local_d.path()).await?;
    agent.wait_ready().await?;
    agent.kill9()?;
    let content = std::fs::read_to_string(agent.credentials_file())?;
    std::fs::remove_file(agent.credentials_file())?;
    let ini = std::fs::read_to_string(local_d.path().join(OUR_INI))?;
    couch.log().clear();

    agent.start_again()?;
    agent.wait_log("restore the file", SOON).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!agent.credentials_file().exists());
    assert_eq!(std::fs::read_to_string(local_d.path().join(OUR_INI))?, ini);
    assert_eq!(refusals(&couch), 0);

    write_private(&agent.credentials_file(), &content)?;
    agent.wait_ready().await
}

/// The procedure of docs/operations.md for a lost password: remove `os_admin` from CouchDB's ini files while
/// CouchDB is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_file_is_made_again_while_couchdb_is_stopped_and_no_other_admin_is_lost() -> Result<()> {
    let local_d = tempfile::tempdir()?;
    let port = free_port()?;
    let mut agent = agent_with_ini(port, local_d.path(), 30).await?;
    let couch = start_couchdb(port, local_d.path()).await?;
    agent.wait_ready().await?;
    let old = password(&agent)?;

    drop(couch);
    std::fs::remove_file(local_d.path().join(OUR_INI))?;
    std::fs::write(local_d.path().join("50-admins.ini"), "[admins]\nanother = secret\n")?;
    std::fs::remove_file(agent.credentials_file())?;
    agent.terminate().await?;
    agent.start_again()?;
    until("the ini file", async || Ok(local_d.path().join(OUR_INI).exists())).await?;
    let couch = start_couchdb(port, local_d.path()).await?;
    agent.wait_ready().await?;

    let client = CouchClient::new(&couch.url())?;
    assert_ne!(password(&agent)?, old);
    assert!(client.logs_in(&Credentials::new("os_admin", &password(&agent)?)).await?);
    assert!(client.logs_in(&Credentials::new("another", "secret")).await?);
    assert_eq!(refusals(&couch), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_admin_of_long_ago_is_not_needed_again() -> Result<()> {
    let mut fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let admin = fixture.couch.admin().name.clone();
    fixture.agent.terminate().await?;
    let os_admin = Credentials::new("os_admin", &password(&fixture.agent)?);
    let path = format!("/_node/_local/_config/admins/{admin}");
    let (status, _) = fixture.client.request(reqwest::Method::DELETE, &path, Some(&os_admin), None).await?;
    assert!(status.is_success());
    fixture.memory()?.log().clear();
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    assert_eq!(refusals(fixture.memory()?), 0);
    Ok(())
}

/// Many concurrent commands notice that the password changed: CouchDB gets far fewer than five failed logins.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_agent_does_not_lock_os_admin_out() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let path = "/_node/_local/_config/admins/os_admin";
    let changed = json!("another password");
    let (status, _) = fixture.client.put(path, Some(fixture.couch.admin()), &changed).await?;
    assert!(status.is_success());
    fixture.memory()?.admins_are_hashed().await;
    // A pause, then many commands at once.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let calls = (0..16).map(|_| fixture.call("list_databases", json!({})));
    assert!(join_all(calls).await.iter().all(Result::is_err));
    fixture.agent.wait_log("restore the file", SOON).await?;
    let refused = refusals(fixture.memory()?);
    assert!((1..=2).contains(&refused), "{refused} tries");
    Ok(())
}

/// A different CouchDB on the same port: its ini file has `os_admin`, but it has no `_users`.
#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_replaced_under_a_running_agent_gets_its_databases() -> Result<()> {
    let local_d = tempfile::tempdir()?;
    let port = free_port()?;
    let mut agent = agent_with_ini(port, local_d.path(), 1).await?;
    let mut couch = start_couchdb(port, local_d.path()).await?;
    agent.wait_ready().await?;
    couch.stop().await;
    drop(couch);
    // Several probes of the heartbeat find no server.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let _couch = start_couchdb(port, local_d.path()).await?;
    assert_databases(&agent, port).await
}

/// The same, so fast that no request fails: the first command notices it and waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_users_database_that_vanished_is_made_again_and_the_command_succeeds() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (status, _) =
        fixture.client.request(reqwest::Method::DELETE, "/_users", Some(fixture.couch.admin()), None).await?;
    assert!(status.is_success());
    let al = fixture.name("al");
    fixture.user(&al, &[]).await?;
    assert!(fixture.user_document(&al).await?.is_some());
    Ok(())
}

async fn assert_databases(agent: &AgentProcess, port: u16) -> Result<()> {
    let client = CouchClient::new(&format!("http://127.0.0.1:{port}"))?;
    let os_admin = Credentials::new("os_admin", &password(agent)?);
    let began = tokio::time::Instant::now();
    while !client.get("/_users/_design/_auth", Some(&os_admin)).await?.0.is_success() {
        assert!(began.elapsed() < SOON, "no _users:\n{}", agent.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(client.get("/_replicator", Some(&os_admin)).await?.0.is_success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_hangs_is_not_healthy() -> Result<()> {
    let fixture =
        FixtureBuilder::default().in_memory(Options::default()).set("heartbeat.interval", 1).up().await?;
    heard(&fixture, |status| *status == ServiceStatus::Healthy).await?;
    fixture.memory()?.faults().add(Rule::new("*", "*", Fault::Hang));
    heard(&fixture, |status| *status != ServiceStatus::Healthy).await?;
    fixture.memory()?.faults().clear();
    heard(&fixture, |status| *status == ServiceStatus::Healthy).await
}

async fn heard(fixture: &Fixture, wanted: impl Fn(&ServiceStatus) -> bool) -> Result<()> {
    let is_wanted = |cast: &ConductorCast| matches!(cast, ConductorCast::Heartbeat { status: Some(status), .. } if wanted(status));
    fixture.conductor.next(SOON, is_wanted).await?;
    Ok(())
}
