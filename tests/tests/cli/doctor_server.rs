//! `doctor` with a CouchDB that answers but refuses users, and with checks that could not run.

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::json;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};

use crate::doctor_host::Found;
use crate::tool::Tool;

async fn fixture() -> Result<(LocalFixture, Tool)> {
    let fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let cli = Tool::configured(&fixture.agent);
    Ok((fixture, cli))
}

async fn set(fixture: &LocalFixture, key: &str, value: &str) -> Result<()> {
    let path = format!("/_node/_local/_config/{key}");
    let (status, answer) = fixture.client.put(&path, Some(fixture.couch.admin()), &json!(value)).await?;
    anyhow::ensure!(status.is_success(), "{path}: {status} {answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn how_couchdb_is_set_up_is_looked_at() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    let found = Found::by(&cli).await?;
    for id in
        ["couchdb.maintenance", "couchdb.password_rules", "couchdb.iterations", "couchdb.user_conflicts"]
    {
        assert_eq!(found.status(id), "ok", "{found:#?}");
    }
    assert_eq!(found.status("couchdb.container"), "ok", "{found:#?}");
    set(&fixture, "couchdb/maintenance_mode", "true").await?;
    set(&fixture, "chttpd_auth/password_regexp", "[{\".{10,}\", \"Password min length is 10 chars.\"}]")
        .await?;
    set(&fixture, "chttpd_auth/max_iterations", "100000").await?;
    let rows = json!({"total_rows": 2, "offset": 0, "rows": [
        {"id": "org.couchdb.user:al", "key": "x", "value": {"rev": "1-a"}, "doc": {"_id": "x", "_conflicts": ["1-b"]}},
        {"id": "org.couchdb.user:bo", "key": "x", "value": {"rev": "1-a"}, "doc": {"_id": "x"}},
    ]});
    let conflicts = Fault::Answer { status: 200, body: rows.to_string() };
    fixture.memory()?.faults().add(Rule::new("GET", "/_users/_all_docs", conflicts));
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["couchdb.iterations", "couchdb.maintenance", "couchdb.user_conflicts"]);
    assert!(found.detail("couchdb.password_rules").contains("{10,}"), "{found:#?}");
    assert!(found.detail("couchdb.user_conflicts").starts_with("al has"), "{found:#?}");
    Ok(())
}

/// With thousands of databases on a busy machine the agent gets more time than for its in-memory state, and a
/// check that did not run does not count as passed.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_could_not_run_is_a_warning_and_counts() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    fixture.databases(&["shop"]).await?;
    let slow = Rule::new("GET", "/shop/_security", Fault::DelayMs(11_000));
    fixture.memory()?.faults().add(slow);
    let found = Found::by(&cli).await?;
    assert_eq!(found.status("databases.public"), "ok", "within --timeout: {found:#?}");
    let ended = cli.run(&["doctor", "--timeout", "5", "-o", "value"]).await?;
    assert_eq!(ended.code, Some(8), "{ended:?}");
    assert!(ended.output.contains("databases.public\twarning\tnot checked: "), "{ended:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ini_files_with_secrets_that_all_can_read() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir()?;
    let (etc, local_d) = (directory.path().join("etc"), directory.path().join("etc/local.d"));
    std::fs::create_dir_all(&local_d)?;
    let chmod =
        |path: &std::path::Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    for path in [directory.path(), &etc, &local_d] {
        chmod(path, 0o755)?;
    }
    let builder = LocalFixtureBuilder::default().in_memory(Options::default());
    let fixture = builder.set("couchdb.local_ini_dir", local_d.to_string_lossy().into_owned()).up().await?;
    let cli = Tool::configured(&fixture.agent);
    let file = etc.join("local.ini");
    std::fs::write(&file, "[admins]\nboss = planted-password\n[chttpd_auth]\nsecret = planted-secret\n")?;
    chmod(&file, 0o644)?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["couchdb.ini_files"]);
    let detail = found.detail("couchdb.ini_files");
    assert!(detail.contains("local.ini (a secret and an administrator's password)"), "{detail}");
    assert!(!detail.contains("planted"), "{detail}");
    chmod(&file, 0o640)?;
    Found::by(&cli).await?.must_have_failed(&[]);
    Ok(())
}
