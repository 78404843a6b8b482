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
async fn a_sound_set_up_has_no_fault() -> Result<()> {
    let stage = stage().await?;
    let ended = Tool::local(&stage.agent).run(&["doctor", "--output", "json"]).await?;
    let examination: Value = serde_json::from_str(&ended.output)?;
    let failed: Vec<_> = examination["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|finding| finding["status"] == "failed")
        .collect();
    assert!(failed.is_empty() && matches!(ended.code, Some(0 | 8)), "{failed:?} {ended:?}");
    Ok(())
}

/// What is wrong around the agent.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_machine_are_named() -> Result<()> {
    let mut stage = stage().await?;
    let tool = Tool::local(&stage.agent);
    let (credentials, state_dir) = (stage.agent.credentials_file(), stage.agent.directory().join("state"));

    stage.databases(&["open"]).await?;
    stage.set_security("open", &serde_json::json!({})).await?;
    assert_ne!(state(&tool, "databases.public").await?, "ok");
    stage.set_security("open", &serde_json::json!({"members": {"roles": ["_admin"]}})).await?;
    assert_eq!(state(&tool, "databases.public").await?, "ok");

    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o644))?;
    assert_eq!(state(&tool, "credentials.mode").await?, "failed");
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600))?;

    let ahead = format!("{}\n", 4_000_000_000_u64);
    std::fs::write(state_dir.join("last_sent"), ahead)?;
    assert_ne!(state(&tool, "host.last_sent").await?, "ok");

    stage.couch.memory_mut().unwrap().stop().await;
    assert_eq!(state(&tool, "couchdb.reachable").await?, "failed");
    stage.couch.memory_mut().unwrap().start_again().await?;

    stage.agent.terminate().await?;
    assert_eq!(state(&tool, "agent.socket").await?, "failed");

    let content = std::fs::read_to_string(&credentials)?;
    let mut wrong: Value = serde_json::from_str(&content)?;
    wrong["password"] = "not this one".into();
    std::fs::write(&credentials, wrong.to_string())?;
    stage.memory()?.log().clear();
    assert_eq!(state(&tool, "couchdb.login").await?, "failed");
    std::fs::remove_file(&credentials)?;
    assert_eq!(state(&tool, "credentials.file").await?, "failed");
    Ok(())
}

/// What the operator wrote.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_configuration_are_named() -> Result<()> {
    let stage = stage().await?;
    const TROVE: &str = "conf.d/trove-guestagent.conf";
    let broken = |file: &str, from: &str, to: &str| {
        let directory = tempfile::tempdir()?;
        let tool = Tool::local(&stage.agent).misconfigured(directory.path(), file, from, to)?;
        anyhow::Ok((directory, tool))
    };
    let (_kept, tool) = broken("agent.toml", "[heartbeat]", "[hartbeat]")?;
    assert_eq!(state(&tool, "config.load").await?, "failed");
    let (_kept, tool) = broken("agent.toml", "assume_prepared = true", "assume_prepared = false")?;
    assert_eq!(state(&tool, "agent.prepared").await?, "warning");
    let (_kept, tool) = broken(TROVE, "@127.0.0.1:", "@127.0.0.1:1,nobody:x@127.0.0.1:")?;
    assert_ne!(state(&tool, "broker.reachable").await?, "ok");
    let (_kept, tool) = broken(TROVE, "rabbit://", "rabbit://x")?;
    assert_eq!(state(&tool, "broker.login").await?, "failed");
    let (_kept, tool) =
        broken(TROVE, "[oslo_messaging_rabbit]", "[oslo_messaging_rabbit]\namqp_durable_queues = true")?;
    assert_ne!(state(&tool, "broker.queue_flags").await?, "ok");
    let (_kept, tool) = broken("conf.d/guest_info.conf", "guest_id=", "guest_id=another-")?;
    assert_ne!(state(&tool, "broker.queue").await?, "ok");
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
