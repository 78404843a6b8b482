//! The exit status is the one that the systemd unit knows (`RestartPreventExitStatus=`): a wrong option in a drop-in must not
//! start the agent again and again.

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
