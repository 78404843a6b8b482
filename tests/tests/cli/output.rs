//! Tables for people, and the three forms for scripts, as they are.

use anyhow::Result;
use in_memory_couchdb::Options;
use trove_couchdb_tests::couch::Credentials;
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

/// What a shell and `man` get: for every verb, without an agent.
#[tokio::test(flavor = "multi_thread")]
async fn completions_and_manual_pages() -> Result<()> {
    let stage = LocalPlan::default().in_memory(Options::default()).up().await?;
    let tool = Tool::local(&stage.agent);
    for shell in ["bash", "zsh", "fish"] {
        let script = tool.must(&["completions", shell]).await?;
        assert!(script.contains("user-grant-access") && script.contains("apply"), "{shell}");
        let agents = tool.must(&["completions", shell, "--agent"]).await?;
        assert!(agents.contains("check-config") && !agents.contains("user-grant-access"), "{shell}");
    }
    let directory = tempfile::tempdir()?;
    tool.must(&["man", "--dir", &directory.path().display().to_string()]).await?;
    for page in ["trove-couchdb.1", "trove-couchdb-user-create.1", "trove-couchdb-doctor.1"] {
        let text = std::fs::read_to_string(directory.path().join(page))?;
        assert!(text.contains(".TH") && text.contains("SYNOPSIS"), "{page}");
    }
    let agents = std::fs::read_to_string(directory.path().join("trove-couchdb-agent.8"))?;
    for text in [".TH trove-couchdb-agent 8", "check\\-config", "agent.toml", "EXIT STATUS"] {
        assert!(agents.contains(text), "{text}: {agents}");
    }
    assert!(tool.must(&["man"]).await?.contains(".TH"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_password_is_all_that_a_script_reads() -> Result<()> {
    let stage = LocalPlan::default().up().await?;
    let tool = Tool::local(&stage.agent);
    let (al, bo) = (stage.name("al"), stage.name("bo"));
    let quiet = tool.must(&["user-create", &al, "--generate", "--quiet"]).await?;
    assert!(stage.client.logs_in(&Credentials::new(&al, quiet.trim_end())).await?, "{quiet:?}");
    let value = tool.must(&["user-create", &bo, "--generate", "--output", "value"]).await?;
    let fields: Vec<&str> = value.trim_end_matches('\n').split('\t').collect();
    assert_eq!((fields[0], fields[1]), (bo.as_str(), ""));
    assert!(stage.client.logs_in(&Credentials::new(&bo, fields[2])).await?, "{value:?}");
    assert_eq!(tool.must(&["database-create", &stage.name("db"), "--quiet"]).await?, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_only_where_they_are_wanted() -> Result<()> {
    let tool = Tool::plain(&["--socket", "/nowhere", "--config", "/nowhere", "doctor"]);
    assert!(!tool.run(&[]).await?.output.contains('\u{1b}'), "not a terminal");
    assert!(tool.run(&["--color", "always"]).await?.output.contains('\u{1b}'));
    assert!(!tool.run(&["--color", "never"]).await?.output.contains('\u{1b}'));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_ends_with_64() -> Result<()> {
    let tool = Tool::default();
    for wrong in [
        &["no-such-verb"][..],
        &["user-show"],
        &["user-grant-access", "al"],
        &["user-update-attributes", "al"],
        &["user-create", "al", "--generate", "--password-stdin"],
        &["user-list", "--limit", "0"],
        &["ping", "--timeout", "soon"],
        &["ping", "--transport-url", "x", "--transport-url-file", "y"],
        &["doctor", "--instance", "x"],
        &[],
    ] {
        tool.refused(64, wrong).await?;
    }
    assert!(tool.must(&["--version"]).await?.starts_with("trove-couchdb "));
    Ok(())
}
