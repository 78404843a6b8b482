//! The examples for log and metric drains are accepted by the programs that they are for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use trove_couchdb_tests::ledger;
use trove_couchdb_tests::promtool::promtool;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/examples").canonicalize().unwrap()
}

fn text(name: &str) -> String {
    std::fs::read_to_string(examples().join(name)).unwrap()
}

/// `None` if the program is not installed; `make deps` installs all of them.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            ledger::skipped(&format!("{program} can't be run: {error}"));
            None
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn rsyslog_accepts_its_example_and_refuses_a_mistake_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        let file = directory.path().join("rsyslog.conf");
        // As Debian's own file begins, which includes ours.
        let place = directory.path().display();
        let main = format!("module(load=\"imuxsock\")\nglobal(workDirectory=\"{place}\")\n{text}");
        std::fs::write(&file, main).unwrap();
        run("/usr/sbin/rsyslogd", &["-N1", "-f", &file.display().to_string()])
    };
    let example = text("rsyslog/60-trove-couchdb.conf");
    let Some(output) = check(&example) else { return };
    assert!(output.status.success() && !said(&output).contains("error"), "{}", said(&output));
    for (right, wrong) in [("type=\"omfwd\"", "type=\"omforward\""), ("queue.maxDiskSpace", "queue.maxSpace")]
    {
        assert!(example.contains(right));
        let output = check(&example.replace(right, wrong)).unwrap();
        assert!(said(&output).contains("error"), "{wrong}: {}", said(&output));
    }
}

#[test]
fn prometheus_accepts_its_example() {
    let place = examples().join("prometheus");
    let said = promtool(&place, &["check", "config", "remote-write.yml"], "").unwrap();
    assert!(said.contains("is valid prometheus config file syntax"), "{said}");
}

#[test]
fn what_is_sent_on_is_what_the_agent_has() {
    let example = text("prometheus/remote-write.yml");
    let line = example.lines().find_map(|line| line.trim().strip_prefix("regex: ")).unwrap();
    let kept = regex::Regex::new(&format!("^(?:{line})$")).unwrap();
    let document = std::fs::read_to_string(examples().join("../../docs/metrics.md")).unwrap();
    let metrics: Vec<&str> =
        document.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0)).collect();
    assert!(metrics.len() > 20);
    for metric in metrics {
        assert!(kept.is_match(metric), "{metric}");
    }
    assert!(!kept.is_match("prometheus_tsdb_head_series"));
}

#[test]
fn systemd_accepts_the_drop_in() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("trove-couchdb-agent.service");
    let drop_ins = directory.path().join("trove-couchdb-agent.service.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(&unit, "[Service]\nExecStart=/bin/true\n").unwrap();
    let check = |text: &str| {
        std::fs::write(drop_ins.join("agent-log.conf"), text).unwrap();
        run("systemd-analyze", &["verify", "--man=no", &unit.display().to_string()])
    };
    let example = text("systemd/agent-log.conf");
    let Some(output) = check(&example) else { return };
    assert!(!said(&output).contains("agent-log.conf"), "{}", said(&output));
    let output = check(&example.replace("append:", "prepend:")).unwrap();
    assert!(said(&output).contains("agent-log.conf"), "{}", said(&output));
}

#[test]
fn logrotate_accepts_its_example() {
    let file = examples().join("logrotate/trove-couchdb-agent-log");
    let Some(output) = run("/usr/sbin/logrotate", &["--debug", &file.display().to_string()]) else { return };
    let said = said(&output);
    // Which accounts the machine has does not matter.
    assert!(said.contains("weekly") || said.contains("unknown group 'trove-couchdb'"), "{said}");
    assert!(!said.contains("unknown option"), "{said}");
}
