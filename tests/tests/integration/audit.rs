//! The audit log: one line for each command that changes something, from both transports, and no secrets.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use trove_couchdb_protocol::envelope;
use trove_couchdb_tests::fixture::FixtureBuilder;
use trove_couchdb_tests::local_fixture::LocalFixtureBuilder;

use super::local_socket::failure;

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn is_time(text: &Value) -> bool {
    let text = text.as_str().unwrap_or_default();
    text.len() == "2026-11-25T03:14:15.926535Z".len() && text.ends_with('Z') && text.as_bytes()[10] == b'T'
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_has_its_line_and_a_read_has_none() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("audit.log");
    let builder = FixtureBuilder::default();
    let fixture = builder.set("audit.file", file.to_str().unwrap()).up().await?;
    let (db, al, zoe) = (fixture.name("db"), fixture.name("al"), fixture.name("zoe"));
    let secret = |number: u32| format!("Planted{number}Secret{}", fixture.id);
    let local = fixture.local().await?;

    fixture.databases(&[&db]).await?;
    let user = json!({"_name": al, "_password": secret(1), "_databases": [{"_name": db}]});
    local.call("create_user", json!({"users": [user]})).await?;
    let change = json!({"users": [{"name": al, "host": "%", "password": secret(2)}]});
    local.call("change_passwords", change).await?;
    let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe, "password": secret(3)}});
    fixture.must_cast("update_attributes", rename).await?;
    fixture.call("enable_root_with_password", json!({"root_password": secret(4)})).await?;
    let root = local.call("enable_root", json!({})).await?["_password"].as_str().unwrap().to_owned();
    fixture.call("disable_root", json!({})).await?;
    // Reads, from both transports.
    fixture.call("list_users", json!({})).await?;
    local.call("get_agent_status", json!({})).await?;
    local.call("check_databases", json!({})).await?;
    local.call("rpc_ping", json!({})).await?;
    // Failures and refusals.
    let missing = json!({"user": {"_name": fixture.name("nobody")}});
    assert_eq!(failure(fixture.call("delete_user", missing).await).class, "UserNotFound");
    let reserved = json!({"user": {"_name": "os_admin"}});
    assert_eq!(failure(local.call("delete_user", reserved).await).class, "ReservedName");
    failure(local.call("create_user", json!({"users": secret(5)})).await);
    failure(fixture.call("restart", json!({})).await);
    failure(fixture.call("no_such_method", json!({})).await);
    let unreadable = json!({"method": "grant_access", "args": [secret(6)], "_context_user": "bob"});
    fixture.rpc.publish_raw(&envelope::encode(&unreadable)).await?;
    fixture.call("delete_database", json!({"database": {"_name": db}})).await?;

    let lines = lines(&file);
    let shown: Vec<_> = lines
        .iter()
        .map(|line| {
            let part = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            (
                part("method"),
                line["source"]["kind"].as_str().unwrap().to_owned(),
                part("outcome"),
                part("class"),
            )
        })
        .collect();
    let shown: Vec<_> = shown.iter().map(|(a, b, c, d)| [a.as_str(), b, c, d]).collect();
    assert_eq!(
        shown,
        [
            ["create_database", "bus", "ok", ""],
            ["create_user", "local", "ok", ""],
            ["change_passwords", "local", "ok", ""],
            ["update_attributes", "bus", "ok", ""],
            ["enable_root_with_password", "bus", "ok", ""],
            ["enable_root", "local", "ok", ""],
            ["disable_root", "bus", "ok", ""],
            ["delete_user", "bus", "failed", "UserNotFound"],
            ["delete_user", "local", "refused", "ReservedName"],
            ["create_user", "local", "refused", "InvalidRequest"],
            ["restart", "bus", "refused", "NotSupported"],
            ["grant_access", "bus", "refused", "InvalidRequest"],
            ["delete_database", "bus", "ok", ""],
        ]
    );
    assert_eq!(lines[1]["target"], json!({"users": [al], "databases": [db]}));
    assert_eq!(lines[3]["target"], json!({"users": [al, zoe]}));
    assert_eq!(lines[4]["target"], json!({"users": ["root"]}));
    assert_eq!((&lines[3]["user"], &lines[3]["project"]), (&json!("alice"), &json!("test-tenant")));
    assert_eq!(lines[11]["user"], "bob");
    let source = &lines[1]["source"];
    assert_eq!(
        (&source["uid"], &source["pid"]),
        (&json!(rustix::process::geteuid().as_raw()), &json!(std::process::id()))
    );
    for line in &lines {
        assert!(is_time(&line["time"]) && line["duration_ms"].is_u64(), "{line}");
        assert!(
            line["outcome"] == "ok" || line["message"].as_str().is_some_and(|text| !text.is_empty()),
            "{line}"
        );
    }
    assert!(lines[1]["request_id"].as_str().unwrap().starts_with("req-") && lines[1]["id"].is_string());
    let text = std::fs::read_to_string(&file)?;
    for secret in (1..=6).map(secret).chain([root]) {
        assert!(!text.contains(&secret), "{secret}");
        assert!(!fixture.agent.logs().contains(&secret), "{secret}");
    }
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_is_started_again_and_no_line_is_lost() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("audit.log");
    let builder = LocalFixtureBuilder::default().set("audit.max_bytes", 16_384);
    let fixture = builder.set("audit.file", file.to_str().unwrap()).set("audit.keep", 2).up().await?;
    for _ in 0..100 {
        failure(fixture.call("delete_database", json!({"database": {"_name": fixture.name("none")}})).await);
    }
    let older = |number: u32| directory.path().join(format!("audit.log.{number}"));
    assert!(older(1).exists() && !older(3).exists());
    let files = [older(2), older(1), file];
    for file in &files {
        assert!(std::fs::metadata(file).map_or(0, |found| found.len()) <= 16_384);
    }
    let all: Vec<Value> = files.iter().flat_map(|file| lines(file)).collect();
    assert_eq!(all.len(), 100);
    assert!(all.is_sorted_by(|a, b| a["time"].as_str() <= b["time"].as_str()));
    Ok(())
}

/// The line contains the words that docs/configuration.md tells operators to search for.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_log_it_is_there_at_any_filter() -> Result<()> {
    for (format, words) in [("text", " audit: "), ("json", "\"target\":\"audit\"")] {
        let builder = LocalFixtureBuilder::default();
        let fixture = builder.set("log.filter", "error").set("log.format", format).up().await?;
        fixture.databases(&[&fixture.name("db")]).await?;
        let logs = fixture.agent.logs();
        let line = logs.lines().find(|line| line.contains(words)).expect("an audit line");
        let record: Value = if format == "text" {
            serde_json::from_str(line.split_once(words).unwrap().1)?
        } else {
            let line: Value = serde_json::from_str(line)?;
            serde_json::from_str(line["fields"]["message"].as_str().expect("a message"))?
        };
        assert_eq!((&record["method"], &record["outcome"]), (&json!("create_database"), &json!("ok")));
        assert!(!logs.contains("Serving on the local socket"), "the filter counts for the rest");
    }
    Ok(())
}

/// If the disk is full or missing, lines are lost but no command fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_written_fails_no_command() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let builder = LocalFixtureBuilder::default();
    let fixture = builder.set("audit.file", directory.path().to_str().unwrap()).up().await?;
    fixture.databases(&[&fixture.name("db")]).await?;
    assert!(fixture.agent.logs().contains("A line of the audit file is lost"), "{}", fixture.agent.logs());
    Ok(())
}
