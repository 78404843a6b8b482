//! `apply` and `export` with a real agent.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};

use crate::tool::Tool;

/// The test's own in-memory server: a file describes the whole server, and a real one is shared.
async fn fixture() -> Result<(LocalFixture, Tool)> {
    let fixture =
        LocalFixtureBuilder::default().in_memory(in_memory_couchdb::Options::default()).up().await?;
    let cli = Tool::local(&fixture.agent);
    Ok((fixture, cli))
}

fn file(fixture: &LocalFixture, text: &str) -> Result<String> {
    let path: PathBuf = fixture.agent.directory().join("state.toml");
    std::fs::write(&path, text)?;
    Ok(path.to_string_lossy().into_owned())
}

const SHOP: &str = "databases = [\"log\", \"shop\"]\n[users.al]\ndatabases = [\"shop\"]\npassword_file = \"al.pw\"\n\
                    [users.\"b o\"]\ndatabases = [\"log\", \"shop\"]\npassword_env = \"BO_PW\"\n[users.cy]\n\
                    generate = true\n";

#[tokio::test(flavor = "multi_thread")]
async fn applied_twice_it_changes_nothing_the_second_time() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    let cli = cli.env("BO_PW", "pw of bo");
    let wanted = file(&fixture, SHOP)?;
    std::fs::write(fixture.agent.directory().join("al.pw"), "pw of al\n")?;
    let planned = cli.must(&["apply", &wanted, "--dry-run"]).await?;
    insta::assert_snapshot!("dry_run", planned);
    assert_eq!(cli.run(&["apply", &wanted, "--dry-run", "--exit-code"]).await?.code, Some(8));
    assert_eq!(cli.must(&["database-list", "-o", "value"]).await?, "", "a dry run does nothing");

    let applied = cli.must(&["apply", &wanted, "--yes"]).await?;
    let generated = applied.lines().find_map(|line| line.strip_prefix("password of \"cy\": ")).unwrap();
    for (name, password, database) in
        [("al", "pw of al", Some("shop")), ("b o", "pw of bo", Some("log")), ("cy", generated, None)]
    {
        let login = Credentials::new(name, password);
        assert!(fixture.client.logs_in(&login).await?, "{name}");
        if let Some(database) = database {
            assert!(fixture.client.reads(database, Some(&login)).await?, "{name}");
        }
    }
    let log = fixture.memory()?.log();
    log.clear();
    for arguments in [&["apply", &wanted, "--yes"][..], &["apply", &wanted, "--yes", "--prune"]] {
        assert!(cli.must(arguments).await?.contains("Nothing to do"));
    }
    assert_eq!(log.count("PUT", "*") + log.count("POST", "/_users/_bulk_docs") + log.count("DELETE", "*"), 0);
    assert_eq!(cli.run(&["apply", &wanted, "--dry-run", "--exit-code"]).await?.code, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_file_is_kept_until_prune() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    fixture.databases(&["old", "shop"]).await?;
    fixture.user("al", &["old", "shop"]).await?;
    fixture.user("gone", &["shop"]).await?;
    let wanted = file(&fixture, "databases = [\"shop\"]\n[users.al]\n")?;
    let kept = cli.must(&["apply", &wanted, "--yes"]).await?;
    insta::assert_snapshot!("kept", kept);
    let planned = cli.must(&["apply", &wanted, "--prune", "--dry-run"]).await?;
    insta::assert_snapshot!("prune", planned);
    cli.must(&["apply", &wanted, "--prune", "--yes"]).await?;
    assert_eq!(cli.must(&["user-list", "-o", "value"]).await?, "al\t%\t\n");
    assert_eq!(cli.must(&["database-list", "-o", "value"]).await?, "shop\n");
    assert!(!fixture.client.reads("shop", None).await?, "a database without members is closed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_anywhere_the_next_run_reaches_the_same_state() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    let cli = cli.env("BO_PW", "pw of bo").env("TROVE_COUCHDB_SOCKET", "/nowhere");
    let wanted = file(&fixture, SHOP)?;
    std::fs::write(fixture.agent.directory().join("al.pw"), "pw of al\n")?;
    let empty = fixture.agent.directory().join("empty.toml");
    std::fs::write(&empty, "")?;
    let mut reached = Vec::new();
    for cut in 0..5_u32 {
        cli.must(&["apply", &empty.to_string_lossy(), "--prune", "--allow-empty", "--yes"]).await?;
        // CouchDB refuses all writes after the first few; the program stops, as if killed.
        let faults = fixture.memory()?.faults();
        let refused = in_memory_couchdb::Fault::Answer { status: 400, body: "{\"error\":\"cut\"}".into() };
        let passed = in_memory_couchdb::Fault::DelayMs(0);
        for (method, path) in [("PUT", "*"), ("POST", "/_users/_bulk_docs")] {
            let each = if method == "PUT" { cut } else { cut.saturating_sub(2) };
            if each > 0 {
                faults.add(in_memory_couchdb::Rule::new(method, path, passed.clone()).times(each));
            }
            faults.add(in_memory_couchdb::Rule::new(method, path, refused.clone()));
        }
        let broken = cli.run(&["apply", &wanted, "--yes", "--timeout", "20"]).await?;
        assert_ne!(broken.code, Some(0), "{cut}: {broken:?}");
        assert!(broken.errors.contains("of 5 changes are made"), "{cut}: {broken:?}");
        assert!(broken.errors.contains("it goes on where this ended"), "{cut}: {broken:?}");
        faults.clear();
        cli.must(&["apply", &wanted, "--yes"]).await?;
        assert!(cli.must(&["apply", &wanted, "--prune", "--yes"]).await?.contains("Nothing to do"), "{cut}");
        reached.push(cli.must(&["export"]).await?);
    }
    assert!(reached.windows(2).all(|pair| pair[0] == pair[1]), "{reached:?}");
    insta::assert_snapshot!("export", reached[0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_the_next_run_reaches_the_same_state() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    let cli = cli.env("BO_PW", "pw of bo");
    let wanted = file(&fixture, SHOP)?;
    std::fs::write(fixture.agent.directory().join("al.pw"), "pw of al\n")?;
    let slow = in_memory_couchdb::Fault::DelayMs(100);
    fixture.memory()?.faults().add(in_memory_couchdb::Rule::new("*", "*", slow));
    let mut killed = 0;
    for milliseconds in [200, 500, 800, 1_100, 1_400] {
        let arguments = ["apply", &wanted, "--yes"];
        let run = cli.run(&arguments);
        // Dropping the future kills the program; the agent may still be running a command.
        killed += u32::from(tokio::time::timeout(Duration::from_millis(milliseconds), run).await.is_err());
    }
    assert!(killed > 0, "nothing was interrupted");
    cli.must(&["apply", &wanted, "--yes"]).await?;
    assert!(cli.must(&["apply", &wanted, "--prune", "--yes"]).await?.contains("Nothing to do"));
    insta::assert_snapshot!("export", cli.must(&["export"]).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_is_applied_without_a_change() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    fixture.databases(&["a/b+c", "d$(e)-f"]).await?;
    fixture.user("ünï \"q\" \\ 🙂", &["a/b+c", "d$(e)-f"]).await?;
    fixture.user("plain", &[]).await?;
    // Created by a different tool, with a name that no command accepts.
    let admin = fixture.couch.admin();
    assert!(fixture.client.put("/a%2F%2Fb", Some(admin), &Value::Null).await?.0.is_success());
    let exported = cli.must(&["export"]).await?;
    assert!(exported.contains("can't be managed") && !exported.contains("-pw"), "{exported}");
    let applied = cli.run_with(&["apply", "-", "--prune", "--yes"], &exported).await?;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(applied.output.contains("Nothing to do"), "{applied:?}");
    let document = cli.json(&["export"]).await?;
    assert_eq!(document["users"]["plain"]["databases"], serde_json::json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_rotated_only_when_the_file_says_so() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    let old = fixture.user("al", &[]).await?;
    let keeping = file(&fixture, "[users.al]\npassword_env = \"AL\"\n")?;
    let cli = cli.env("AL", "rotated");
    assert!(cli.must(&["apply", &keeping, "--yes"]).await?.contains("Nothing to do"));
    assert!(fixture.client.logs_in(&old).await?);
    let rotating = file(&fixture, "[users.al]\npassword_env = \"AL\"\nrotate_password = true\n")?;
    let steps = cli.json(&["apply", &rotating, "--yes"]).await?;
    assert_eq!(
        steps["steps"],
        serde_json::json!([{"action": "set_password", "user": "al", "outcome": "done"}])
    );
    assert!(fixture.client.logs_in(&Credentials::new("al", "rotated")).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_found_before_anything_is_done() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    for (text, says) in [
        ("databases = [\"new\"]\n[users.al]\n", "has no password"),
        ("databases = [\"new\"]\n[users.al]\npassword_file = \"missing.pw\"\n", "missing.pw"),
        ("databases = [\"new\"]\n[users.al]\npassword_env = \"UNSET\"\n", "UNSET"),
        ("databases = [\"new\", \"Bad\"]\n", "Bad"),
        ("databses = []", "databses"),
        ("not toml", "state.toml"),
    ] {
        let wanted = file(&fixture, text)?;
        let error = cli.refused(64, &["apply", &wanted, "--yes"]).await?;
        assert!(error.contains(says), "{text}: {error}");
    }
    cli.refused(64, &["apply", "/nowhere.toml", "--yes"]).await?;
    assert_eq!(cli.must(&["database-list", "-o", "value"]).await?, "");
    Ok(())
}
