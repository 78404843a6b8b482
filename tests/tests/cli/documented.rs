//! Runs the documentation's commands of the two programs, page by page and in order, on an agent and its
//! broker.
//!
//! Only values that a page cannot know are replaced: ids, and paths of the fixture's files and sockets. Pages
//! that `make walk` runs are included, because the walk needs its own machine and is started by hand.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use in_memory_couchdb::Options;
use trove_couchdb_tests::agent::{AgentProcess, binary};
use trove_couchdb_tests::doc_commands::{Documented, Runner, commands, inline, pages, runner};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};

use crate::tool::{Tool, private};

const LIMIT: Duration = trove_couchdb_tests::until::HUNG;

/// A placeholder for an instance's id, which readers replace too.
const ID: &str = "6ee49ee8-…";

/// `broker_user.rs` runs this on its own node.
const ELSEWHERE: &str = "broker-user | sh";

/// Its commands require a service manager: `make walk` runs them on a machine with one.
const PRIVILEGED_HELPER: &str = "docs/hostd.md";

fn executable(path: &Path, script: &str) -> Result<()> {
    std::fs::write(path, script)?;
    Ok(std::fs::set_permissions(path, PermissionsExt::from_mode(0o755))?)
}

/// Puts both programs into a directory for `PATH`; they find the agent's configuration as on an instance.
pub fn programs(agent: &AgentProcess, directory: &Path) -> Result<()> {
    let configuration = agent.directory();
    let ours = format!("--config-dir '{0}/conf.d' --config '{0}/agent.toml'", configuration.display());
    for name in ["trove-couchdb", "trove-couchdb-agent"] {
        let program = binary()?.with_file_name(name).canonicalize().context("run `make build`")?;
        let program = program.display();
        // If a configuration of the control plane is given, the agent's is not used.
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *' --config-file '* | *' --transport-url-file '*) exec '{program}' \"$@\" ;; esac\n\
             exec '{program}' {ours} \"$@\"\n"
        );
        executable(&directory.join(name), &script)?;
    }
    Ok(())
}

/// Prepares what a reader has: the programs, and the files of the control plane.
fn desk(fixture: &Fixture, directory: &Path) -> Result<()> {
    programs(&fixture.agent, directory)?;
    let configuration = fixture.agent.directory();
    let injected = std::fs::read_to_string(configuration.join("conf.d/trove-guestagent.conf"))?;
    let url = injected.lines().find_map(|line| line.strip_prefix("transport_url = ")).context("no URL")?;
    private(&directory.join("trove.conf"), &injected)?;
    private(&directory.join("url"), url)?;
    private(&directory.join("key"), fixture.key.as_deref().context("not encrypted")?)
}

async fn run(fixture: &Fixture, directory: &Path, command: &Documented) -> Result<()> {
    let text = command
        .text
        .replace(ID, &fixture.id)
        .replace("/etc/trove/trove.conf", "trove.conf")
        .replace("--control-exchange trove", &format!("--control-exchange {}", fixture.exchange()))
        .replace("/run/trove-couchdb-agent/metrics.sock", "metrics.sock")
        .replace("/root/", "./");
    let path = format!("{}:/usr/bin:/bin", directory.display());
    let mut shell = tokio::process::Command::new("/bin/bash");
    shell.args(["-e", "-o", "pipefail", "-c", &text]).current_dir(directory).env_clear();
    shell.env("PATH", path);
    // A variable only for the tool: the agent would report it as a misspelt one of its own.
    if command.program() != "trove-couchdb-agent" {
        shell.env("TROVE_COUCHDB_SOCKET", fixture.agent.socket());
    }
    shell.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, shell.output()).await.context("it hangs")??;
    // `doctor` may warn: the clock of a test machine is irrelevant.
    let warned =
        command.program() == "trove-couchdb" && text.contains(" doctor") && output.status.code() == Some(8);
    ensure!(
        output.status.success() || warned,
        "{}:{}: {text}\n{}\n{}{}",
        command.page,
        command.line,
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Whether the command starts one of the programs, or uses one.
fn ours(command: &Documented) -> Result<bool> {
    if command.page == PRIVILEGED_HELPER {
        return Ok(false);
    }
    let text = command.bare();
    let named = command.program().starts_with("trove-couchdb") || text.contains("; trove-couchdb ");
    Ok((named || runner(command)? == Some(Runner::Tool)) && !text.ends_with(ELSEWHERE))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_command_of_the_programs_does_what_it_says() -> Result<()> {
    let mut done = 0;
    for page in pages()? {
        let commands = commands(&page)?;
        let ours = commands.iter().map(ours).collect::<Result<Vec<bool>>>()?;
        if !ours.contains(&true) {
            continue;
        }
        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("metrics.sock");
        let builder = FixtureBuilder::default().in_memory(Options::default()).encrypted();
        let fixture = builder.set("metrics.listen", socket.display().to_string()).up().await?;
        desk(&fixture, directory.path())?;
        for (command, _) in commands.iter().zip(ours).filter(|(_, ours)| *ours) {
            run(&fixture, directory.path(), command).await?;
            done += 1;
        }
    }
    ensure!(done > 20, "only {done} commands");
    Ok(())
}

/// Also checks inline mentions: `trove-couchdb VERB …`.
#[tokio::test]
async fn every_verb_that_a_page_names_is_one() -> Result<()> {
    let help = Tool::plain(&[]).must(&["--help"]).await?;
    let list =
        help.split_once("Commands:\n").context("no commands")?.1.split("\n\n").next().unwrap_or_default();
    let verbs: Vec<&str> =
        list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let mut seen = 0;
    for page in pages()? {
        for (line, code) in inline(&page)? {
            let verb = code.strip_prefix("trove-couchdb ").and_then(|rest| rest.split(' ').next());
            if let Some(verb) = verb.filter(|verb| verb.starts_with(|c: char| c.is_ascii_lowercase())) {
                ensure!(verbs.contains(&verb), "{page}:{line}: {code}: not one of {verbs:?}");
                seen += 1;
            }
        }
    }
    ensure!(seen > 20, "only {seen} verbs in the text");
    Ok(())
}
