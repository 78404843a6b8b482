//! `doctor` with an operator's mistakes in the agent's files.

use anyhow::Result;
use in_memory_couchdb::Options;
use serde_json::Value;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};

use super::tool::Tool;

/// The file that Trove injects.
const TROVE: &str = "conf.d/trove-guestagent.conf";

/// The status of one check.
async fn state(tool: &Tool, id: &str) -> Result<String> {
    let ended = tool.run(&["doctor", "--output", "json"]).await?;
    let examination: Value = serde_json::from_str(&ended.output)?;
    let found = examination["checks"].as_array().into_iter().flatten().find(|finding| finding["id"] == id);
    let verdict = found.and_then(|finding| finding["status"].as_str());
    Ok(verdict.map_or_else(|| format!("no {id} in {}", ended.output), str::to_owned))
}

async fn fixture() -> Result<Fixture> {
    FixtureBuilder::default().in_memory(Options::default()).up().await
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_configuration_are_named() -> Result<()> {
    let fixture = fixture().await?;
    let broken = |file: &str, from: &str, to: &str| {
        let directory = tempfile::tempdir()?;
        let tool = Tool::local(&fixture.agent).misconfigured(directory.path(), file, from, to)?;
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
