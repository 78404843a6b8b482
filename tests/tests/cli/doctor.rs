//! The doctor names each fault by its check, and keeps secrets to itself.

use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use in_memory_couchdb::Options;
use serde_json::Value;
use trove_couchdb_tests::stage::{Plan, Stage};

use super::tool::Tool;

/// The verdict of one check.
async fn state(tool: &Tool, id: &str) -> Result<String> {
    let ended = tool.run(&["doctor", "--output", "json"]).await?;
    let examination: Value = serde_json::from_str(&ended.output)?;
    let found = examination["checks"].as_array().into_iter().flatten().find(|finding| finding["id"] == id);
    let verdict = found.and_then(|finding| finding["status"].as_str());
    Ok(verdict.map_or_else(|| format!("no {id} in {}", ended.output), str::to_owned))
}

async fn stage() -> Result<Stage> {
    Plan::default().in_memory(Options::default()).up().await
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_named() -> Result<()> {
    let mut stage = stage().await?;
    let tool = Tool::local(&stage.agent);
    assert_eq!(state(&tool, "agent.socket").await?, "ok");

    stage.databases(&["open"]).await?;
    stage.set_security("open", &serde_json::json!({})).await?;
    let ended = tool.run(&["doctor"]).await?;
    assert!(ended.output.contains("open") && ended.code != Some(0), "a public database: {ended:?}");

    let credentials = stage.agent.credentials_file();
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o644))?;
    let ended = tool.run(&["doctor"]).await?;
    assert!(ended.output.contains("0644") && ended.code == Some(1), "{ended:?}");
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600))?;

    stage.couch.memory_mut().unwrap().stop().await;
    let ended = tool.run(&["doctor"]).await?;
    assert!(ended.output.contains("can't be reached") && ended.code == Some(1), "{ended:?}");
    stage.couch.memory_mut().unwrap().start_again().await?;

    stage.agent.terminate().await?;
    assert_eq!(state(&tool, "agent.socket").await?, "failed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_holds_no_secret_and_is_for_its_owner() -> Result<()> {
    let stage = stage().await?;
    let bundle = stage.agent.directory().join("support.tar.gz");
    let ended = Tool::local(&stage.agent).run(&["doctor", "--bundle", &bundle.display().to_string()]).await?;
    assert!(bundle.is_file(), "{ended:?}");
    assert_eq!(std::fs::metadata(&bundle)?.permissions().mode() & 0o777, 0o600);
    let text = std::process::Command::new("tar").arg("-xOzf").arg(&bundle).output()?.stdout;
    let text = String::from_utf8_lossy(&text);
    let credentials: Value = serde_json::from_str(&std::fs::read_to_string(stage.agent.credentials_file())?)?;
    for secret in [credentials["password"].as_str().unwrap(), &stage.couch.admin().password] {
        assert!(!text.contains(secret) && !ended.output.contains(secret), "a secret is in the bundle");
    }
    assert!(text.contains(&stage.id), "it says which agent it is of");
    Ok(())
}
