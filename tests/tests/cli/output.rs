//! Tables for people, and the three formats for scripts.

use anyhow::Result;
use in_memory_couchdb::Options;
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};

use super::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_objects_in_every_form() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().alone().up().await?;
    let tool = Tool::local(&fixture.agent);
    for database in ["films", "music"] {
        tool.must(&["database-create", database]).await?;
    }
    tool.must_with(&["user-create", "alice", "--databases", "films,music", "--password-stdin"], "pw").await?;
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
    let fixture = LocalFixtureBuilder::default().alone().up().await?;
    let tool = Tool::local(&fixture.agent);
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

/// Completions and manual pages cover every verb, and need no agent.
#[tokio::test(flavor = "multi_thread")]
async fn completions_and_manual_pages() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().alone().up().await?;
    let tool = Tool::local(&fixture.agent);
    for shell in ["bash", "zsh", "fish"] {
        let script = tool.must(&["completions", shell]).await?;
        assert!(script.contains("user-grant-access") && script.contains("apply"), "{shell}");
        let agents = tool.must(&["completions", shell, "--agent"]).await?;
        assert!(agents.contains("check-config") && !agents.contains("user-grant-access"), "{shell}");
    }
    for (line, words) in [
        ("user-d", &["user-delete"][..]),
        ("user-delete --y", &["--yes"]),
        ("apply --", &["--prune", "--allow-empty", "--dry-run", "--yes"]),
        ("--yes user-create --", &["--databases", "--generate"]),
        ("database-list --output ", &["json", "value"]),
        ("log-level --", &["--configured"]),
    ] {
        let completed = completed(&tool, line).await?;
        for word in words {
            assert!(completed.iter().any(|found| found == word), "{line}: {word} is not in {completed:?}");
        }
    }
    let directory = tempfile::tempdir()?;
    tool.must(&["man", "--dir", &directory.path().display().to_string()]).await?;
    for page in ["trove-couchdb.1", "trove-couchdb-user-create.1", "trove-couchdb-doctor.1"] {
        let text = std::fs::read_to_string(directory.path().join(page))?;
        assert!(text.contains(".TH") && text.contains("SYNOPSIS"), "{page}");
    }
    let agents = std::fs::read_to_string(directory.path().join("trove-couchdb-agent.8"))?;
    for text in [".TH TROVE-COUCHDB-AGENT 8", "check\\-config", "agent.toml", "EXIT STATUS"] {
        assert!(agents.contains(text), "{text}: {agents}");
    }
    assert!(tool.must(&["man"]).await?.contains(".TH"));
    Ok(())
}

/// The completions of a real bash for the last word of a command line.
async fn completed(tool: &Tool, line: &str) -> Result<Vec<String>> {
    let script = tool.must(&["completions", "bash"]).await?;
    let ask = r#"
        read -ra words <<<"trove-couchdb $1"
        [[ $1 == *' ' ]] && words+=('')
        COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1)) COMP_LINE="trove-couchdb $1" COMP_POINT=${#COMP_LINE}
        function_name=$(complete -p trove-couchdb | sed 's/.*-F \([^ ]*\).*/\1/')
        "$function_name" trove-couchdb "${words[-1]}" "${words[-2]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let arguments = ["-c", &format!("{script}\n{ask}"), "bash", line];
    let output = tokio::process::Command::new("bash").args(arguments).output().await?;
    anyhow::ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_are_never_broken_and_a_list_of_databases_ends_where_it_ends() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let tool = Tool::local(&fixture.agent);
    let long = "a-database-whose-name-is-rather-long-and-makes-an-url-of-more-than-eighty-characters";
    for database in ["films", long] {
        tool.must(&["database-create", database]).await?;
    }
    let databases = format!("films,{long}");
    tool.must_with(&["user-create", "--databases", &databases, "--password-stdin", "al"], "pw").await?;
    tool.must_with(
        &["user-create", "--databases", "films", "--databases", long, "bo", "--password-stdin"],
        "pw",
    )
    .await?;
    let shown = in_a_narrow_terminal(&tool, &fixture, "credentials al").await?;
    let urls: Vec<&str> = shown.lines().filter(|line| line.contains("://")).collect();
    assert_eq!(urls.len(), 4, "{shown}");
    for (start, url) in ["couchdb://al@", "http://al@", "couchdb://al@", "http://al@"].iter().zip(&urls) {
        assert!(url.starts_with(start) && !url.contains(['|', ' ']), "{shown}");
    }
    assert!(urls.iter().any(|url| url.ends_with(long)), "{shown}");
    Ok(())
}

/// The program's output on a terminal with 80 columns.
async fn in_a_narrow_terminal(_tool: &Tool, fixture: &LocalFixture, words: &str) -> Result<String> {
    let program = trove_couchdb_tests::agent::binary()?.with_file_name("trove-couchdb");
    let line = format!(
        "stty cols 80; exec '{}' --socket '{}' {words}",
        program.display(),
        fixture.agent.socket().display()
    );
    let arguments = ["-qec", &line, "/dev/null"];
    let output = tokio::process::Command::new("script").args(arguments).output().await?;
    anyhow::ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?.replace('\r', ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_how_far_a_file_is_applied() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let tool = Tool::local(&fixture.agent);
    let file = fixture.agent.directory().join("state.toml");
    std::fs::write(&file, "databases = [\"a\", \"b\", \"c\"]\n")?;
    let words = format!("apply '{}' --yes", file.display());
    let shown = in_a_narrow_terminal(&tool, &fixture, &words).await?;
    assert!(shown.contains("[######..............] 1/3 database \"b\""), "{shown:?}");
    assert!(shown.contains("\u{1b}[2KAll 3 changes are made."), "the bar is gone then: {shown:?}");
    let shown = tool.run(&["apply", &file.display().to_string(), "--yes"]).await?;
    assert!(!shown.errors.contains("/3"), "no bar away from a terminal: {shown:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_password_is_all_that_a_script_reads() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().up().await?;
    let tool = Tool::local(&fixture.agent);
    let (al, bo) = (fixture.name("al"), fixture.name("bo"));
    let quiet = tool.must(&["user-create", &al, "--generate", "--quiet"]).await?;
    assert!(fixture.client.logs_in(&Credentials::new(&al, quiet.trim_end())).await?, "{quiet:?}");
    let value = tool.must(&["user-create", &bo, "--generate", "--output", "value"]).await?;
    let fields: Vec<&str> = value.trim_end_matches('\n').split('\t').collect();
    assert_eq!((fields[0], fields[1]), (bo.as_str(), ""));
    assert!(fixture.client.logs_in(&Credentials::new(&bo, fields[2])).await?, "{value:?}");
    assert_eq!(tool.must(&["database-create", &fixture.name("db"), "--quiet"]).await?, "");
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
        &["apply", "x.toml", "--allow-empty"],
    ] {
        tool.refused(64, wrong).await?;
    }
    assert!(tool.must(&["--version"]).await?.starts_with("trove-couchdb "));
    for bare in [&[][..], &["--yes"]] {
        let ended = tool.run(bare).await?;
        assert_eq!((ended.code, ended.output.as_str()), (Some(2), ""), "{ended:?}");
        assert!(
            ended.errors.starts_with("Usage: trove-couchdb") && ended.errors.lines().count() < 5,
            "{ended:?}"
        );
    }
    Ok(())
}
