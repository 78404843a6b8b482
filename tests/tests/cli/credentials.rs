//! `credentials`: URLs that clients can use, and passwords only on request.

use anyhow::Result;
use serde_json::json;
use trove_couchdb_tests::local_fixture::LocalFixtureBuilder;
use trove_couchdb_tests::shared_server::root_alone;

use crate::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn a_users_urls_name_its_databases() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().up().await?;
    let cli = Tool::local(&fixture.agent);
    let (one, two, al) = (fixture.name("a/b"), fixture.name("two"), fixture.name("al@x"));
    fixture.databases(&[&one, &two]).await?;
    fixture.user(&al, &[&one, &two]).await?;
    let rows = cli.json(&["credentials", &al, "--host", "db.example.com", "--scheme", "https"]).await?;
    let url = |row: usize, key: &str| rows[row][key].as_str().unwrap().to_owned();
    let user = al.replace('@', "%40");
    let port = url(0, "http_url").rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
    assert_eq!(
        url(0, "couchdb_url"),
        format!("couchdb://{user}@db.example.com:{port}/{}", one.replace('/', "%2F"))
    );
    assert_eq!(url(1, "http_url"), format!("https://{user}@db.example.com:{port}/{two}"));
    let rows = cli.json(&["credentials", &al, "--host", "db:6984"]).await?;
    assert!(rows[0]["http_url"].as_str().unwrap().contains("@db:6984/"), "{rows}");
    for bad in ["a b", "h/p", "u@h", "h:99999"] {
        cli.refused(64, &["credentials", &al, "--host", bad]).await?;
    }
    cli.refused(3, &["credentials", &fixture.name("nobody")]).await?;
    let all = cli.json(&["credentials"]).await?;
    assert!(all.as_array().unwrap().iter().any(|row| row["user"] == al.as_str()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_shown_only_if_it_fits() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().up().await?;
    let cli = Tool::local(&fixture.agent);
    let al = fixture.name("al");
    let login = fixture.user(&al, &[]).await?;
    let reveal = ["credentials", &al, "--reveal", "--password-stdin", "-o", "value"];
    let shown = cli.must_with(&reveal, &login.password).await?;
    assert!(shown.contains(&format!("http://{al}:{}@", login.password)), "{shown}");
    // More failures would lock the accounts for half an hour.
    let wrong = cli.run_with(&reveal, "wrong").await?;
    assert!(
        wrong.code == Some(1) && wrong.errors.contains("refuses this password") && wrong.output.is_empty(),
        "{wrong:?}"
    );
    assert!(!cli.must(&["credentials", &al]).await?.contains(&login.password));
    cli.refused(64, &["credentials", "--reveal"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_have_the_whole_server() -> Result<()> {
    let mut fixture = LocalFixtureBuilder::default().up().await?;
    let _alone = root_alone(&fixture.couch).await;
    let cli = Tool::local(&fixture.agent);
    let error = cli.refused(3, &["credentials", "root"]).await?;
    assert!(error.contains("root-enable"), "{error}");
    cli.must_with(&["root-enable", "--password-stdin"], "p@ss").await?;
    let shown =
        cli.must_with(&["credentials", "root", "--reveal", "--password-stdin", "-o", "json"], "p@ss").await?;
    assert!(shown.contains("root:p%40ss@"), "{shown}");
    cli.must(&["root-disable", "-y"]).await?;

    let rows = cli.json(&["credentials", "os_admin", "--reveal"]).await?;
    let file: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(fixture.agent.credentials_file())?)?;
    let password = file["password"].as_str().unwrap();
    assert_eq!((&rows[0]["database"], &rows[0]["user"]), (&json!(null), &json!("os_admin")));
    assert!(rows[0]["http_url"].as_str().unwrap().contains(&format!("os_admin:{password}@")));
    assert!(!cli.must(&["credentials", "os_admin"]).await?.contains(password));
    fixture.agent.terminate().await?;
    assert_eq!(
        cli.json(&["credentials", "os_admin", "--reveal"]).await?,
        rows,
        "also while the agent is down"
    );
    Ok(())
}
