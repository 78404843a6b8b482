//! A panic in the agent logs its location but not its message, which may contain secrets.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::panic::catch_unwind;
use std::process::Command;

use trove_couchdb_config::{LogFormat, LogSettings};

/// Makes the copy of this program panic.
const PANICS: &str = "TROVE_COUCHDB_TEST_PANICS";
const SECRET: &str = "PlantedSecretOfAPanic";

/// Mutation: panic-is-quoted.
#[test]
fn a_panic_is_reported_by_its_place_only() {
    if std::env::var_os(PANICS).is_some() {
        trove_couchdb_agent::log::init(
            &LogSettings { filter: "trace".parse().unwrap(), format: LogFormat::Text },
            None,
        )
        .unwrap();
        assert!(catch_unwind(|| panic!("a password is {SECRET}")).is_err());
        return;
    }
    let copy = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_panic_is_reported_by_its_place_only", "--nocapture"])
        .env(PANICS, "1")
        .env("RUST_BACKTRACE", "full")
        .output()
        .unwrap();
    assert!(copy.status.success(), "{copy:?}");
    let said = [copy.stdout, copy.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("A part of the agent panicked.") && said.contains("crash_output.rs"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}
