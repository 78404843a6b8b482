//! `doctor` without a login on CouchDB: it separates a CouchDB that the agent does not manage yet from lost credentials, and
//! asserts neither unless something shows it.

use anyhow::{Context, Result};
use in_memory_couchdb::Options;
use serde_json::json;
use toml::{Table, Value};
use trove_couchdb_guest::ini::AdminIni;
use trove_couchdb_protocol::Secret;
use trove_couchdb_tests::agent::write_private;
use trove_couchdb_tests::couch::Method;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};

use crate::doctor_host::Found;
use crate::tool::Tool;

const CHECK: &str = "couchdb.os_admin";
const ADOPT: &str = "docs/adopt.md";
const RECOVER: &str = "docs/operations.md#recover-lost-credentials";

/// A CouchDB with an administrator, and a stopped agent whose configuration names that administrator.
async fn stopped() -> Result<(LocalFixture, Tool)> {
    let mut fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let cli = Tool::configured(&fixture.agent);
    fixture.agent.terminate().await?;
    Ok((fixture, cli))
}

/// Changes the section `couchdb` of the agent's configuration.
fn configure(fixture: &LocalFixture, change: impl FnOnce(&mut Table)) -> Result<()> {
    let path = fixture.agent.directory().join("agent.toml");
    let mut document: Table = std::fs::read_to_string(&path)?.parse()?;
    change(document.get_mut("couchdb").and_then(Value::as_table_mut).context("no [couchdb]")?);
    write_private(&path, &toml::to_string(&document)?)
}

fn without_bootstrap_admin(couchdb: &mut Table) {
    couchdb.retain(|key, _| !key.starts_with("bootstrap_admin"));
}

async fn remove_os_admin(fixture: &LocalFixture) -> Result<()> {
    let admin = fixture.couch.admin();
    let path = "/_node/_local/_config/admins/os_admin";
    let (status, _) = fixture.client.request(Method::DELETE, path, Some(admin), None).await?;
    anyhow::ensure!(status.is_success(), "{status}");
    Ok(())
}

/// The pages that a finding's advice names.
fn pages(found: &Found, id: &str) -> Vec<&'static str> {
    [ADOPT, RECOVER].into_iter().filter(|page| found.advice(id).contains(page)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_the_agent_never_managed_is_to_be_adopted() -> Result<()> {
    let (fixture, cli) = stopped().await?;
    remove_os_admin(&fixture).await?;
    std::fs::remove_file(fixture.agent.credentials_file())?;

    let found = Found::by(&cli).await?;
    found.must_have_failed(&["agent.socket", CHECK, "credentials.file"]);
    assert_eq!(pages(&found, CHECK), [ADOPT], "{found:#?}");
    assert!(found.detail(CHECK).contains("sees no os_admin in CouchDB"), "{found:#?}");
    assert_eq!(found.status("couchdb.login"), "skipped");

    // Without the administrator, only CouchDB's ini files can show it.
    configure(&fixture, without_bootstrap_admin)?;
    let found = Found::by(&cli).await?;
    assert_eq!((found.status(CHECK), pages(&found, CHECK)), ("warning", vec![ADOPT, RECOVER]), "{found:#?}");
    let local_d = fixture.agent.directory().join("etc/local.d");
    std::fs::create_dir_all(&local_d)?;
    std::fs::write(local_d.join("10-admins.ini"), "[admins]\nadmin = -pbkdf2-x\nos_admin =\n")?;
    configure(&fixture, |couchdb| {
        couchdb.insert("local_ini_dir".to_owned(), local_d.display().to_string().into());
    })?;
    let found = Found::by(&cli).await?;
    assert_eq!((found.status(CHECK), pages(&found, CHECK)), ("failed", vec![ADOPT]), "{found:#?}");
    assert!(found.detail(CHECK).starts_with("none of CouchDB's 1 ini files has os_admin"), "{found:#?}");

    std::fs::write(local_d.join("20-more.ini"), "[admins]\nos_admin = -pbkdf2-x\n")?;
    let found = Found::by(&cli).await?;
    assert_eq!((found.status(CHECK), pages(&found, CHECK)), ("failed", vec![RECOVER]), "{found:#?}");
    assert!(found.detail(CHECK).contains("20-more.ini has os_admin"), "{found:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_to_be_recovered_and_the_cause_is_named_if_it_is_seen() -> Result<()> {
    let (fixture, cli) = stopped().await?;
    let wrong = json!({"username": "os_admin", "password": "not this one"}).to_string();
    write_private(&fixture.agent.credentials_file(), &wrong)?;

    let found = Found::by(&cli).await?;
    found.must_have_failed(&["agent.socket", "couchdb.login"]);
    assert_eq!((found.status(CHECK), pages(&found, "couchdb.login")), ("ok", vec![RECOVER]), "{found:#?}");
    assert!(
        found.advice("couchdb.login").starts_with("os_admin has a different password in CouchDB"),
        "{found:#?}"
    );

    remove_os_admin(&fixture).await?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["agent.socket", "couchdb.login", CHECK]);
    assert_eq!(pages(&found, CHECK), [RECOVER], "{found:#?}");
    assert!(
        found.detail(CHECK).contains("os_admin was removed, or this is a different CouchDB"),
        "{found:#?}"
    );
    assert!(found.advice("couchdb.login").starts_with("CouchDB has no os_admin"), "{found:#?}");

    configure(&fixture, without_bootstrap_admin)?;
    let found = Found::by(&cli).await?;
    assert_eq!((found.status(CHECK), pages(&found, CHECK)), ("warning", vec![RECOVER]), "{found:#?}");
    let advice = found.advice("couchdb.login");
    assert!(advice.starts_with("os_admin's password was changed, or os_admin was removed"), "{found:#?}");

    // The agent's ini file has the password, and CouchDB was not restarted.
    let local_d = fixture.agent.directory().join("local.d");
    std::fs::create_dir_all(&local_d)?;
    AdminIni::in_directory(&local_d).install(&Secret::new("not this one"), 10)?;
    configure(&fixture, |couchdb| {
        couchdb.insert("local_ini_dir".to_owned(), local_d.display().to_string().into());
    })?;
    let found = Found::by(&cli).await?;
    assert_eq!(found.status(CHECK), "failed", "{found:#?}");
    assert!(found.advice(CHECK).starts_with("restart CouchDB"), "{found:#?}");
    Ok(())
}

/// Each wrong password counts towards CouchDB's lockout, also one of the operator's administrator.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_bootstrap_administrator_shows_nothing_and_is_tried_once() -> Result<()> {
    let (fixture, cli) = stopped().await?;
    std::fs::remove_file(fixture.agent.credentials_file())?;
    configure(&fixture, |couchdb| {
        couchdb.insert("bootstrap_admin_password".to_owned(), "not this one".into());
    })?;
    fixture.memory()?.log().clear();
    for _ in 0..3 {
        let found = Found::by(&cli).await?;
        assert_eq!(
            (found.status(CHECK), pages(&found, CHECK)),
            ("warning", vec![ADOPT, RECOVER]),
            "{found:#?}"
        );
        assert!(found.detail(CHECK).contains("bootstrap_admin"), "{found:#?}");
    }
    let log = fixture.memory()?.log();
    let refused = log.entries().iter().filter(|entry| entry.status == Some(401)).count();
    assert_eq!(refused, 1, "{:#?}", log.entries());
    Ok(())
}
