//! A CouchDB that cannot write its configuration: it applies a change but answers with an error, and loses
//! the change at a restart. No command may report success then, or leave a login that works only until the
//! restart.

use anyhow::{Context, Result};
use in_memory_couchdb::{Options, Trouble};
use serde_json::{Value, json};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixturePlan};
use trove_couchdb_tests::until::until;

fn read_only() -> Trouble {
    Trouble { config_read_only: true, ..Trouble::default() }
}

async fn guest() -> Result<LocalFixture> {
    let plan = LocalFixturePlan::default().in_memory(Options::default());
    plan.set("couchdb.sha256_iterations", 1000).set("heartbeat.interval", 1).up().await
}

async fn failure(fixture: &LocalFixture, method: &str, args: Value) -> Result<String> {
    Ok(fixture.call(method, args).await.err().context("it must fail")?.to_string())
}

fn file(fixture: &LocalFixture) -> Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(fixture.agent.credentials_file())?)?)
}

async fn restart_couchdb(fixture: &mut LocalFixture) -> Result<()> {
    let memory = fixture.couch.memory_mut().context("the in-memory CouchDB")?;
    memory.stop().await;
    memory.start_again().await?;
    until("the agent has its login", async || Ok(fixture.call("list_users", json!({})).await.is_ok())).await
}

/// Mutation: rotation-not-put-back (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_can_not_be_kept_is_taken_back() -> Result<()> {
    let mut fixture = guest().await?;
    let before = file(&fixture)?;
    fixture.memory()?.trouble(read_only());
    let error = failure(&fixture, "rotate_os_admin", json!({})).await?;
    let expected = "CouchDB can't write its configuration (erofs; os_admin keeps its password): check owner";
    assert!(error.contains(expected), "{error}");
    assert_eq!(file(&fixture)?["password"], before["password"]);
    assert!(file(&fixture)?["next_password"].is_null(), "{}", file(&fixture)?);
    let old = Credentials::new("os_admin", before["password"].as_str().context("no password")?);
    assert!(fixture.client.logs_in(&old).await?);
    until("the agent has its login", async || Ok(fixture.call("list_users", json!({})).await.is_ok()))
        .await?;
    restart_couchdb(&mut fixture).await?;

    fixture.memory()?.trouble(Trouble::default());
    fixture.call("rotate_os_admin", json!({})).await?;
    assert!(fixture.client.refuses(&old).await?);
    restart_couchdb(&mut fixture).await
}

/// Mutation: root-not-undone (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn root_is_as_before_when_its_change_can_not_be_kept() -> Result<()> {
    let mut fixture = guest().await?;
    let root = |password: &str| Credentials::new("root", password);
    let enable = |password: &str| json!({"root_password": password});
    fixture.memory()?.trouble(read_only());
    let error = failure(&fixture, "enable_root_with_password", enable("first")).await?;
    assert!(error.contains("(erofs; root is as before)"), "{error}");
    assert_eq!(fixture.call("is_root_enabled", json!({})).await?, false);
    assert!(!fixture.client.logs_in(&root("first")).await?);

    fixture.memory()?.trouble(Trouble::default());
    fixture.call("enable_root_with_password", enable("first")).await?;
    fixture.memory()?.trouble(read_only());
    let error = failure(&fixture, "enable_root_with_password", enable("second")).await?;
    assert!(error.contains("(erofs; root is as before)"), "{error}");
    assert!(fixture.client.logs_in(&root("first")).await? && !fixture.client.logs_in(&root("second")).await?);

    let error = failure(&fixture, "disable_root", json!({})).await?;
    assert!(error.contains("root is disabled, and enabled again when CouchDB restarts"), "{error}");
    assert!(!fixture.client.logs_in(&root("first")).await?);
    restart_couchdb(&mut fixture).await?;
    assert!(fixture.client.logs_in(&root("first")).await?, "as was said");
    Ok(())
}

/// CouchDB itself may write, but the agent cannot update its ini file, which is in a separate directory.
#[tokio::test(flavor = "multi_thread")]
async fn an_ini_file_that_can_not_follow_is_no_success() -> Result<()> {
    let Some(disk) = trove_couchdb_tests::disk::Disk::of_mib(1)? else { return Ok(()) };
    let directory = disk.path().display().to_string();
    let plan = LocalFixturePlan::default()
        .in_memory(Options::default())
        .set("couchdb.local_ini_dir", directory.as_str());
    let mut fixture = plan.set("couchdb.sha256_iterations", 1000).up().await?;
    let ini = "[admins]\nos_admin = the-password-of-the-image\n";
    std::fs::write(disk.path().join("zz-trove-os-admin.ini"), ini)?;
    let read_only =
        std::process::Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status()?;
    anyhow::ensure!(read_only.success(), "it can't be made read-only");

    let error = failure(&fixture, "rotate_os_admin", json!({})).await?;
    assert!(error.contains("CouchDB will read the old one when it restarts"), "{error}");
    assert!(fixture.call("list_users", json!({})).await.is_ok(), "the new one is used until then");
    assert!(file(&fixture)?["next_password"].is_null());
    fixture.agent.terminate().await?;
    Ok(())
}
