//! Refused credentials: tried rarely, over any number of restarts, and at once after a repair.

use anyhow::{Context, Result};
use in_memory_couchdb::{InMemoryCouch, Options};
use serde_json::{Value, json};
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess, write_private};
use trove_couchdb_tests::couch::{CouchClient, Credentials};
use trove_couchdb_tests::local::LocalClient;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};
use trove_couchdb_tests::until::until;

/// The agent's message if it cannot find out whether `os_admin` exists.
const REFUSED: &str = "does not say which";
const SESSION: &str = "/_session";

/// A server whose own hashes take no time.
fn quick() -> Options {
    Options { iterations: Some(500), ..Options::default() }
}

/// A fixture whose agent has no bootstrap administrator in its configuration any more.
async fn alone() -> Result<LocalFixture> {
    let builder = LocalFixtureBuilder::default().in_memory(quick()).set("couchdb.sha256_iterations", 1000);
    let mut fixture = builder.up().await?;
    fixture.agent.kill9()?;
    let settings = &mut fixture.agent.options().settings;
    settings.retain(|(name, _)| !name.starts_with("couchdb.bootstrap_admin"));
    fixture.memory()?.log().clear();
    Ok(fixture)
}

fn credentials(agent: &AgentProcess) -> Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(agent.credentials_file())?)?)
}

fn with_password(content: &Value, password: &str) -> String {
    let mut content = content.clone();
    content["password"] = password.into();
    content.to_string()
}

fn refusals(couch: &InMemoryCouch) -> usize {
    couch.log().entries().iter().filter(|entry| entry.status == Some(401)).count()
}

/// Starts the agent again and waits until it has logged a further refused login.
async fn start_refused(agent: &mut AgentProcess, said_before: usize) -> Result<()> {
    agent.start_again()?;
    until("the refusal", async || Ok(agent.logs().matches(REFUSED).count() > said_before)).await
}

/// CouchDB 3.4 and later would lock `os_admin` for all clients at this address.
///
/// Mutation: refusal-forgotten-at-restart (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn many_starts_with_a_wrong_password_are_one_wrong_login() -> Result<()> {
    let mut fixture = alone().await?;
    let right = credentials(&fixture.agent)?;
    write_private(&fixture.agent.credentials_file(), &with_password(&right, "wrong"))?;
    for start in 0..8 {
        start_refused(&mut fixture.agent, start).await?;
        fixture.agent.kill9()?;
    }
    assert_eq!(refusals(fixture.memory()?), 1, "{:#?}", fixture.memory()?.log().entries());
    let text = std::fs::read_to_string(fixture.agent.directory().join("state/refused_logins.json"))?;
    assert!(!text.contains("wrong\""), "{text}");

    // The right password is tried without a delay.
    write_private(&fixture.agent.credentials_file(), &right.to_string())?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    fixture.connect().await?.call("list_users", json!({})).await?;
    Ok(())
}

/// A running agent notices each repair that it suggests, and so does an agent that is started afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_is_noticed_at_once() -> Result<()> {
    let mut fixture = alone().await?;
    let right = credentials(&fixture.agent)?;
    let file = fixture.agent.credentials_file();
    write_private(&file, &with_password(&right, "other"))?;
    start_refused(&mut fixture.agent, 0).await?;
    // os_admin's password in CouchDB is changed to the file's, and the file is touched.
    let path = "/_node/_local/_config/admins/os_admin";
    let admin = fixture.couch.admin().clone();
    assert!(fixture.client.put(path, Some(&admin), &json!("other")).await?.0.is_success());
    fixture.memory()?.admins_are_hashed().await;
    std::fs::File::options().write(true).open(&file)?.set_modified(std::time::SystemTime::now())?;
    fixture.agent.wait_ready().await?;
    fixture.agent.kill9()?;

    // Refused again; CouchDB is restarted with the password of its ini files.
    write_private(&file, &with_password(&right, "third"))?;
    let said = fixture.agent.logs().matches(REFUSED).count();
    start_refused(&mut fixture.agent, said).await?;
    assert!(fixture.client.put(path, Some(&admin), &json!("third")).await?.0.is_success());
    fixture.memory()?.admins_are_hashed().await;
    fixture.agent.kill9()?;
    let couch = fixture.couch.memory_mut().context("in memory")?;
    couch.stop().await;
    couch.start_again().await?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await
}

/// Formerly the command hung for a minute and then reported that it might have taken effect.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_without_a_login_is_refused_at_once_with_the_reason() -> Result<()> {
    let mut fixture = alone().await?;
    let right = credentials(&fixture.agent)?;
    write_private(&fixture.agent.credentials_file(), &with_password(&right, "wrong"))?;
    start_refused(&mut fixture.agent, 0).await?;
    for _ in 0..3 {
        let refused = fixture.connect().await?.call("rotate_os_admin", json!({})).await;
        let reported = refused.expect_err("there is no login").to_string();
        assert!(reported.contains("os_admin keeps its password") && reported.contains(REFUSED), "{reported}");
    }
    assert_eq!(refusals(fixture.memory()?), 1);
    Ok(())
}

/// A bootstrap administrator whose password changed has its own lockout.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_bootstrap_admin_is_not_tried_at_each_start() -> Result<()> {
    let couch = InMemoryCouch::start(quick().admin("boss", "right")).await?;
    let options = AgentOptions::without_broker(&couch.url())
        .bootstrap_admin("boss", "wrong")
        .set("couchdb.sha256_iterations", 1000);
    let mut agent = AgentProcess::start(options)?;
    let line = "CouchDB refuses the configured bootstrap_admin";
    for start in 1..7 {
        until("the refusal", async || Ok(agent.logs().matches(line).count() >= start)).await?;
        agent.kill9()?;
        agent.start_again()?;
    }
    assert_eq!(refusals(&couch), 1);
    let client = CouchClient::new(&couch.url())?;
    assert!(
        client.get(SESSION, Some(&Credentials::new("boss", "right"))).await?.0.is_success(),
        "not locked"
    );
    agent.kill9()?;
    agent.options().settings.push(("couchdb.bootstrap_admin_password".to_owned(), "right".into()));
    agent.start_again()?;
    agent.wait_ready().await?;
    LocalClient::connect(&agent.socket()).await?.call("list_users", json!({})).await?;
    Ok(())
}

/// The password was refused a moment before; the agent itself then makes it right again.
#[tokio::test(flavor = "multi_thread")]
async fn an_os_admin_that_was_deleted_is_made_again_by_the_bootstrap_admin() -> Result<()> {
    let builder = LocalFixtureBuilder::default().in_memory(quick()).set("couchdb.sha256_iterations", 1000);
    let fixture = builder.set("heartbeat.interval", 1).up().await?;
    let path = "/_node/_local/_config/admins/os_admin";
    let admin = fixture.couch.admin().clone();
    let deleted = fixture.client.request(reqwest::Method::DELETE, path, Some(&admin), None).await?;
    assert!(deleted.0.is_success());
    let made_again = || fixture.agent.logs().matches("CouchDB is bootstrapped").count() > 1;
    until("another os_admin", async || Ok(made_again())).await.with_context(|| fixture.agent.logs())?;
    fixture.call("list_users", json!({})).await?;
    Ok(())
}
