//! Runs the commands of README.md's transcript and compares their output.
//!
//! Numbers may differ, and so may words that the transcript truncates with `…`; a line of `…` matches any
//! lines.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trove_couchdb_tests::doc_commands::read;
use trove_couchdb_tests::local_fixture::LocalFixtureBuilder;

use crate::documented::programs;
use crate::tool::private;

const LIMIT: Duration = trove_couchdb_tests::until::HUNG;

/// A command and its output lines.
type Typed = (String, Vec<String>);

fn steps(page: &str) -> Result<Vec<Typed>> {
    let block = page.split_once("```console\n").context("no transcript")?.1;
    let mut steps: Vec<Typed> = Vec::new();
    for line in block.split("\n```").next().unwrap_or_default().lines() {
        match (line.strip_prefix("# "), steps.last_mut()) {
            (Some(command), _) => steps.push((command.to_owned(), Vec::new())),
            (None, Some((_, printed))) => printed.push(line.to_owned()),
            (None, None) => anyhow::bail!("the transcript begins with no command: {line}"),
        }
    }
    Ok(steps)
}

/// The words of a line; all numbers are equal.
fn words(line: &str) -> Vec<String> {
    let alike = |word: &str| {
        let parts = word.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty());
        let number = word.contains(|c: char| c.is_ascii_digit());
        parts.collect::<Vec<_>>().join("0") + if number { " a number" } else { "" }
    };
    line.split_whitespace().map(alike).collect()
}

fn like(shown: &str, printed: &str) -> bool {
    let (words, printed) = (words(shown), words(printed));
    let cut = |index: usize| shown.split_whitespace().nth(index).is_some_and(|word| word.ends_with('…'));
    words.len() == printed.len() && (0..words.len()).all(|at| cut(at) || words[at] == printed[at])
}

/// The first line of the transcript that was not printed there, or a printed line that is missing in the
/// transcript.
fn differs(shown: &[String], printed: &str) -> Option<String> {
    // This line is printed only on a slow machine.
    let mut printed = printed.lines().filter(|line| !line.starts_with("Waiting for the agent"));
    let mut any = false;
    for line in shown {
        if line == "…" {
            any = true;
            continue;
        }
        let found =
            if any { printed.any(|it| like(line, it)) } else { like(line, printed.next().unwrap_or("")) };
        if !found {
            return Some(line.clone());
        }
        any = false;
    }
    printed.next().filter(|_| !any).map(str::to_owned)
}

#[test]
fn a_transcript_that_is_not_so_is_seen() {
    let shown = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(differs(&shown("pid 17\npassword: Fx…\n…\nend"), "pid 4\npassword: other\na\nb\nend"), None);
    assert!(differs(&shown("pid 17"), "pit 17").is_some());
    assert!(differs(&shown("one"), "one\ntwo").is_some() && differs(&shown("one\ntwo"), "one").is_some());
    assert!(differs(&shown("…\nend"), "a\nb").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transcript_of_the_readme_is_what_is_printed() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().alone().up().await?;
    let directory = tempfile::tempdir()?;
    programs(&fixture.agent, directory.path())?;
    let steps = steps(&read("README.md")?)?;
    ensure!(steps.len() > 5, "only {} commands", steps.len());
    for (command, shown) in steps {
        if let Some(file) = command.strip_prefix("cat ") {
            private(&directory.path().join(file), &shown.join("\n"))?;
            continue;
        }
        let mut shell = tokio::process::Command::new("/bin/sh");
        shell.args(["-c", &format!("{command} 2>&1")]).current_dir(directory.path()).env_clear();
        shell.env("PATH", format!("{}:/usr/bin:/bin", directory.path().display()));
        shell.env("TROVE_COUCHDB_SOCKET", fixture.agent.socket()).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(LIMIT, shell.output()).await.context("it hangs")??;
        let printed = String::from_utf8(output.stdout)?;
        let differs = differs(&shown, &printed);
        ensure!(differs.is_none(), "{command}: not as shown: {differs:?}; it printed:\n{printed}");
    }
    Ok(())
}
