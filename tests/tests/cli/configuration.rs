//! CouchDB's options on the command line.

use anyhow::Result;
use serde_json::json;
use trove_couchdb_tests::fixture::Fixture;
use trove_couchdb_tests::local_fixture::LocalFixtureBuilder;

use super::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn options_are_set_shown_and_taken_back() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().alone().up().await?;
    let cli = Tool::local(&fixture.agent);
    let option = async |name: &str| {
        let path = format!("/_node/_local/_config/{}", name.replace('.', "/"));
        let (status, value) = fixture.client.get(&path, Some(fixture.couch.admin())).await?;
        anyhow::Ok(status.is_success().then_some(value))
    };
    let said =
        cli.must(&["couchdb-config-set", "cors.max_age=60", "chttpd_auth_cache.max_objects=500"]).await?;
    assert!(said.contains("Changed: chttpd_auth_cache.max_objects, cors.max_age."), "{said}");
    assert!(said.contains("In effect after a restart of CouchDB: chttpd_auth_cache.max_objects."), "{said}");
    assert_eq!(option("cors.max_age").await?, Some(json!("60")));
    assert!(
        cli.must(&["status"]).await?.contains("chttpd_auth_cache.max_objects"),
        "the status says what waits"
    );

    let file = fixture.agent.directory().join("couchdb.ini");
    std::fs::write(&file, "; ours\n[cors]\nmax_age = 90\nmethods = GET\n")?;
    let file = file.to_string_lossy().into_owned();
    cli.must(&["couchdb-config-apply", &file]).await?;
    let shown = cli.must(&["couchdb-config-show", "-o", "value"]).await?;
    let expected = "chttpd_auth_cache.max_objects\t500\tpending restart\toperator\ncors.max_age\t60\tlive\toperator\n\
                    cors.methods\tGET\tlive\tfile\n";
    assert_eq!(shown, expected);
    let all = cli.json(&["couchdb-config-show", "--all"]).await?;
    let names: Vec<_> = all.as_array().unwrap().iter().filter_map(|row| row["option"].as_str()).collect();
    assert!(
        names.len() > 50 && names.contains(&"log.level") && !names.contains(&"chttpd_auth.secret"),
        "{names:?}"
    );

    cli.must(&["couchdb-config-unset", "cors.max_age", "chttpd_auth_cache.max_objects"]).await?;
    assert_eq!(option("cors.max_age").await?, None, "both what the operator and what the file said");
    cli.must_with(&["couchdb-config-apply", "-"], "").await?;
    assert_eq!(cli.must(&["couchdb-config-show", "-o", "value"]).await?, "");
    assert_eq!(option("cors.methods").await?, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named_and_change_nothing() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().up().await?;
    let cli = Tool::local(&fixture.agent);
    for (code, words, named) in [
        (64, &["couchdb-config-set", "log.level"][..], "OPTION=VALUE"),
        (64, &["couchdb-config-set", "log.level=info", "log.level=error"], "is given twice"),
        (64, &["couchdb-config-apply", "/nonexistent.ini"], "can't be read"),
        (1, &["couchdb-config-set", "admins.al=pw"], "admins can't be set"),
        (1, &["couchdb-config-set", "log.level=loud"], "log.level must be one of"),
        (1, &["couchdb-config-unset", "log.level"], "is not set by an operator"),
        (6, &["session-reset"], "needs a yes"),
    ] {
        let error = cli.refused(code, words).await?;
        assert!(error.contains(named), "{words:?}: {error}");
    }
    assert_eq!(cli.must(&["couchdb-config-show", "-o", "value"]).await?, "");
    let said = cli.must(&["session-reset", "--yes"]).await?;
    assert!(said.contains("All sessions have ended."), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_no_way_to_them() -> Result<()> {
    let fixture = Fixture::up().await?;
    let cli = Tool::broker(&fixture.agent, &fixture.id);
    let answer = cli.run_with(&["couchdb-config-set", "log.level=info"], "").await?;
    assert!(answer.code != Some(0) && answer.errors.contains("socket"), "{answer:?}");
    Ok(())
}
