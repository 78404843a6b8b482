//! `agent/src/commands/methods.md` lists exactly the methods of the guest API of the Trove that
//! `tests/python/requirements.txt` pins. A unit test of the agent
//! (`commands::tests::the_list_says_what_is_served`) compares the list with the code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use trove_couchdb_tests::{python::virtual_environment, test_log};

/// The part about Trove ends at this heading.
const OWN: &str = "## The agent's own methods";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn every_method_of_trove_is_served_or_refused_with_a_reason() {
    let python = match virtual_environment() {
        Ok(python) => python,
        Err(error) => {
            test_log::skipped(&format!("Trove is not installed and can't be fetched from PyPI: {error:#}"));
            return;
        }
    };
    let script = root().join("tests/python/guest_api.py");
    let output = Command::new(python).arg(script).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let (version, methods) = printed.split_once('\n').unwrap();
    let called: BTreeSet<&str> = methods.lines().collect();
    assert!(called.len() > 50, "only {called:?}");

    let list = std::fs::read_to_string(root().join("agent/src/commands/methods.md")).unwrap();
    let (of_trove, _) = list.split_once(OWN).unwrap();
    assert!(of_trove.contains(&format!("Trove {version} ")), "the list is not about Trove {version}");
    let rows =
        of_trove.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
    let mut listed = BTreeSet::new();
    for (method, cell) in rows {
        assert!(listed.insert(method), "{method} is listed twice");
        assert!(cell.starts_with("served") || cell.starts_with("refused: "), "{method}: {cell}");
    }
    let missing: Vec<_> = called.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&called).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not listed: {missing:?}; not Trove's: {unknown:?}");
}
