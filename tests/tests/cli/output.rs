//! Tables for people, and the three forms for scripts, as they are.

use anyhow::Result;
use in_memory_couchdb::Options;
use trove_couchdb_tests::local_stage::LocalPlan;

use super::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_objects_in_every_form() -> Result<()> {
    let stage = LocalPlan::default().in_memory(Options::default()).up().await?;
    let tool = Tool::local(&stage.agent);
    for database in ["films", "music"] {
        tool.must(&["database-create", database]).await?;
    }
    tool.must_with(&["user-create", "alice", "--databases", "films", "music", "--password-stdin"], "pw")
        .await?;
    tool.must_with(&["user-create", "bob@b.c", "--password-stdin"], "pw").await?;
    for verb in
        [&["user-list"][..], &["user-show", "alice"], &["user-show-access", "alice"], &["database-list"]]
    {
        let mut shown = String::new();
        for format in ["table", "json", "yaml", "value"] {
            let words: Vec<&str> = verb.iter().copied().chain(["--output", format]).collect();
            shown += &format!("$ trove-couchdb {}\n{}\n", words.join(" "), tool.must(&words).await?);
        }
        insta::assert_snapshot!(verb[0], shown);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_failed_and_what_to_try() -> Result<()> {
    let stage = LocalPlan::default().in_memory(Options::default()).up().await?;
    let tool = Tool::local(&stage.agent);
    tool.must_with(&["user-create", "alice", "--password-stdin"], "pw").await?;
    let mut shown = String::new();
    for words in [
        &["user-show", "nobody"][..],
        &["user-create", "alice", "--generate"],
        &["user-create", "zoe", "--databases", "nowhere", "--generate"],
        &["user-create", "root", "--generate"],
        &["user-grant-access", "alice", "nowhere"],
        &["user-delete", "alice"],
        &["database-create", "Upper"],
    ] {
        let ended = tool.run(words).await?;
        shown += &format!("$ trove-couchdb {}\n{}[{:?}]\n\n", words.join(" "), ended.errors, ended.code);
    }
    insta::assert_snapshot!("errors", shown);
    Ok(())
}
