//! The exit code is the one in the systemd unit (`RestartPreventExitStatus=`): a wrong option in a drop-in
//! must not restart the agent again and again.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn agent(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trove-couchdb-agent")).args(args).output().unwrap()
}

#[test]
fn wrong_usage_ends_as_a_wrong_configuration_does() {
    for args in [["--bogus", "x"], ["--config", ""], ["--state-dir", "--guest-id"]] {
        let ended = agent(&args);
        assert_eq!(ended.status.code(), Some(64), "{args:?}: {ended:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{ended:?}");
    }
}

#[test]
fn a_question_is_answered_on_standard_output() {
    for args in [["--help"], ["--version"]] {
        let ended = agent(&args);
        assert!(ended.status.success() && ended.stderr.is_empty() && !ended.stdout.is_empty(), "{ended:?}");
    }
}

/// Runs the agent with its own configuration, independent of the machine's `/etc`.
fn configured(toml: &str, option: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    std::fs::write(&file, toml).unwrap();
    let conf = directory.path().join("conf.d");
    std::fs::create_dir(&conf).unwrap();
    let paths = [&file, &conf].map(|path| path.to_str().unwrap().to_owned());
    agent(&[option, "--config", &paths[0], "--config-dir", &paths[1]])
}

#[test]
fn what_would_keep_the_agent_from_starting_fails_the_check() {
    let directory = tempfile::tempdir().unwrap();
    let below_a_file = directory.path().join("file");
    std::fs::write(&below_a_file, "").unwrap();
    let socket = |path: &std::path::Path| {
        format!("[broker]\ntransport_url = \"local:\"\n[local]\nsocket = {path:?}\n")
    };
    let sound = configured(&socket(&directory.path().join("agent.sock")), "--check-config");
    assert_eq!(sound.status.code(), Some(0), "{sound:?}");
    for (toml, says) in [
        (socket(&below_a_file.join("agent.sock")), "can't be made: not a directory"),
        (socket(&below_a_file), "is there and is no socket"),
        (socket(&directory.path().join("s")) + "group = \"no-such-group\"\n", "local.group: "),
    ] {
        let ended = configured(&toml, "--check-config");
        let said = String::from_utf8(ended.stderr.clone()).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(said.contains(says), "{said}");
        // The agent itself reports the same, and each cause once.
        let started = agent_with(&toml);
        assert_eq!(started.status.code(), Some(1), "{started:?}");
        let cause = says.trim_end_matches(": ").rsplit(": ").next().unwrap_or_default();
        assert_eq!(said.matches(cause).count(), 1, "{said}");
    }
}

/// Starts the agent, which fails at once.
fn agent_with(toml: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    let state = directory.path().join("state");
    std::fs::write(&file, toml).unwrap();
    let conf = directory.path().join("conf.d");
    std::fs::create_dir(&conf).unwrap();
    let paths = [&file, &conf, &state].map(|path| path.to_str().unwrap().to_owned());
    agent(&["--config", &paths[0], "--config-dir", &paths[1], "--state-dir", &paths[2]])
}

#[test]
fn a_cause_is_said_once() {
    let ended = agent(&["--check-config", "--config", "/nonexistent/agent.toml"]);
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(64));
    assert_eq!(said.matches("No such file or directory").count(), 1, "{said}");
}

/// The check that systemd runs before each start (`ExecCondition=`).
#[test]
fn an_agent_without_configuration_is_no_failure_and_one_with_a_mistake_is() {
    let unconfigured = configured("", "--is-configured");
    assert_eq!(unconfigured.status.code(), Some(1), "{unconfigured:?}");
    let said = String::from_utf8(unconfigured.stderr).unwrap();
    assert!(
        said.contains("is not configured yet") && said.contains("broker.transport_url is not set"),
        "{said}"
    );
    for toml in [
        "[broker]\ntransport_url = \"local:\"\n",
        "transport_url = \"local:\"\n",
        "[zzz]\n",
        "no toml",
        "[rpc]\nx = 1\n",
    ] {
        assert_eq!(configured(toml, "--is-configured").status.code(), Some(0), "{toml}");
    }
}
