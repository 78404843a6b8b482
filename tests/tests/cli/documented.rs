//! The documentation's commands of the two programs, page by page and in their order, on an agent and its broker.
//!
//! What a page can't know is put in: ids, and where the files and sockets of the stage are. Nothing else is changed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use in_memory_couchdb::Options;
use trove_couchdb_tests::agent::binary;
use trove_couchdb_tests::doc_commands::{Documented, Runner, commands, pages, runner};
use trove_couchdb_tests::stage::{Plan, Stage};

use crate::tool::private;

const LIMIT: Duration = Duration::from_secs(60);

/// What a reader puts in, too: an instance's id.
const ID: &str = "6ee49ee8-…";

/// Commands of whose page another test takes care, with its name.
const ELSEWHERE: &[(&str, &str)] = &[("broker-user | sh", "broker_user.rs")];

fn executable(path: &Path, script: &str) -> Result<()> {
    std::fs::write(path, script)?;
    Ok(std::fs::set_permissions(path, PermissionsExt::from_mode(0o755))?)
}

/// A directory with what a reader has: both programs, which find the agent's configuration where an agent has it, and the
/// files of the control plane. `journalctl` and `systemctl` answer for a machine that systemd has booted.
fn desk(stage: &Stage, directory: &Path) -> Result<()> {
    let configuration = stage.agent.directory();
    let ours = format!("--config-dir '{0}/conf.d' --config '{0}/agent.toml'", configuration.display());
    for name in ["trove-couchdb", "trove-couchdb-agent"] {
        let program = binary()?.with_file_name(name).canonicalize().context("run `make build`")?;
        let program = program.display();
        // With a configuration of the control plane, the agent's is not looked at.
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *' --config-file '* | *' --transport-url-file '*) exec '{program}' \"$@\" ;; esac\n\
             exec '{program}' {ours} \"$@\"\n"
        );
        executable(&directory.join(name), &script)?;
    }
    let injected = std::fs::read_to_string(configuration.join("conf.d/trove-guestagent.conf"))?;
    let url = injected.lines().find_map(|line| line.strip_prefix("transport_url = ")).context("no URL")?;
    private(&directory.join("trove.conf"), &injected)?;
    private(&directory.join("url"), url)?;
    private(&directory.join("key"), stage.key.as_deref().context("not encrypted")?)
}

async fn run(stage: &Stage, directory: &Path, command: &Documented) -> Result<()> {
    let text = command
        .text
        .replace(ID, &stage.id)
        .replace("/etc/trove/trove.conf", "trove.conf")
        .replace("--control-exchange trove", &format!("--control-exchange {}", stage.exchange()))
        .replace("/run/trove-couchdb-agent/metrics.sock", "metrics.sock");
    let path = format!("{}:/usr/bin:/bin", directory.display());
    let mut shell = tokio::process::Command::new("/bin/bash");
    shell.args(["-e", "-o", "pipefail", "-c", &text]).current_dir(directory).env_clear();
    shell.env("PATH", path).env("TROVE_COUCHDB_SOCKET", stage.agent.socket());
    shell.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, shell.output()).await.context("it hangs")??;
    ensure!(
        output.status.success(),
        "{}:{}: {text}\n{}\n{}{}",
        command.page,
        command.line,
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_command_of_the_programs_does_what_it_says() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("metrics.sock");
    let plan = Plan::default().in_memory(Options::default()).encrypted();
    let stage = plan.set("metrics.listen", socket.display().to_string()).up().await?;
    desk(&stage, directory.path())?;
    let mut done = 0;
    for page in pages()? {
        for command in commands(&page)? {
            let elsewhere = ELSEWHERE.iter().any(|(end, _)| command.bare().ends_with(end));
            if runner(&command)? == Some(Runner::Tool) && !elsewhere {
                run(&stage, directory.path(), &command).await?;
                done += 1;
            }
        }
    }
    ensure!(done > 8, "only {done} commands");
    Ok(())
}
