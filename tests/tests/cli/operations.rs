//! The verbs for operations: show, wait, cancel.

use anyhow::Result;
use trove_couchdb_tests::local_fixture::LocalFixtureBuilder;

use super::tool::Tool;

async fn begun(tool: &Tool, seconds: &str) -> Result<String> {
    let begun = tool.json(&["operation-rehearse", "--seconds", seconds]).await?;
    Ok(begun["id"].as_str().expect("the id of an operation").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_is_shown_and_waited_for() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().up().await?;
    let tool = Tool::local(&fixture.agent);
    assert!(!tool.must(&["operation-list", "-o", "value"]).await?.contains("operation_rehearse"));
    let id = begun(&tool, "3").await?;
    let list = tool.json(&["operation-list"]).await?;
    assert_eq!((&list[0]["id"], &list[0]["kind"]), (&id.as_str().into(), &"operation_rehearse".into()));
    assert!(tool.must(&["status"]).await?.contains(&id), "status names what is under way");
    let waited = tool.run(&["operation-wait", &id]).await?;
    assert_eq!(waited.code, Some(0), "{waited:?}");
    assert!(waited.output.contains("has succeeded"), "{waited:?}");
    // Without a terminal: a line for each change.
    assert!(waited.errors.contains("step work, 1 of 3 seconds"), "{waited:?}");
    let shown = tool.json(&["operation-show", &id]).await?;
    assert_eq!((&shown["state"], &shown["resumed"]), (&"succeeded".into(), &0.into()));
    let log = tool.must(&["operation-logs", &id, "-o", "value"]).await?;
    for line in ["accepted", "step begin", "step work", "step finish", "succeeded"] {
        assert!(log.contains(line), "{line}: {log}");
    }
    let over = tool.refused(3, &["operation-cancel", &id, "--yes"]).await?;
    assert!(over.contains("is over"), "{over}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_is_ended_only_by_who_says_yes() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().up().await?;
    let tool = Tool::local(&fixture.agent);
    let id = begun(&tool, "600").await?;
    let late = tool.refused(5, &["operation-wait", &id, "--within", "1"]).await?;
    assert!(late.contains("goes on"), "{late}");
    tool.refused(6, &["operation-cancel", &id]).await?;
    assert_eq!(tool.json(&["operation-show", &id]).await?["state"], "running");
    tool.must(&["operation-cancel", &id, "--yes"]).await?;
    let ended = tool.refused(1, &["operation-wait", &id]).await?;
    assert!(ended.contains("cancelled by an operator"), "{ended}");
    let unknown = "00000000-0000-8000-8000-000000000000";
    tool.refused(3, &["operation-show", unknown]).await?;
    tool.refused(64, &["operation-show", "../prepared"]).await?;
    Ok(())
}
