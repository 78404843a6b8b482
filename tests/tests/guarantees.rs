//! `docs/guarantees.md`, the mutations of `tests/mutations` and the tests agree: each guarantee names
//! existing tests, each mutation applies to the current code and names a test, and that test names the
//! mutation.
//!
//! `make mutants` checks that each mutation makes its test fail, which takes an hour.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mutation, as described by its file.
struct Mutation {
    name: String,
    guarantee: String,
    /// The last word of each test's filter.
    tests: Vec<String>,
    file: PathBuf,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn mutations() -> Vec<Mutation> {
    let directory = root().join("tests/mutations");
    let files = std::fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path());
    let mut mutations: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "patch"))
        .map(|file| {
            let text = std::fs::read_to_string(&file).unwrap();
            let fields = |name: &str| {
                let lines = text.lines().filter_map(|line| line.strip_prefix(&format!("{name}: ")));
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            let field = |name: &str| {
                let first = fields(name).into_iter().next();
                first.unwrap_or_else(|| panic!("{} has no line {name}:", file.display()))
            };
            assert!(!fields("Test").is_empty(), "{} has no line Test:", file.display());
            assert!(field("Taken out").ends_with('.'), "{}", file.display());
            Mutation {
                name: file.file_stem().unwrap().to_string_lossy().into_owned(),
                guarantee: field("Guarantee"),
                tests: fields("Test")
                    .iter()
                    .map(|test| test.split(' ').next_back().unwrap().to_owned())
                    .collect(),
                file,
            }
        })
        .collect();
    mutations.sort_by(|left, right| left.name.cmp(&right.name));
    assert!(mutations.len() >= 30);
    mutations
}

/// All code: every `.rs` file of the repository.
fn code() -> String {
    let listed = Command::new("git").args(["ls-files", "-z", "*.rs"]).current_dir(root()).output().unwrap();
    let files = String::from_utf8(listed.stdout).unwrap();
    files
        .split('\0')
        .filter(|file| !file.is_empty())
        .filter_map(|file| std::fs::read_to_string(root().join(file)).ok())
        .collect()
}

#[test]
fn every_mutation_applies() {
    if !root().join(".git").exists() {
        trove_couchdb_tests::ledger::skipped("this is no git repository");
        return;
    }
    for mutation in mutations() {
        let applied =
            Command::new("git").args(["apply", "--check"]).arg(&mutation.file).current_dir(root()).output();
        let output = applied.unwrap();
        assert!(output.status.success(), "{}: {}", mutation.name, String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_mutation_and_its_test_name_each_other() {
    if !root().join(".git").exists() {
        trove_couchdb_tests::ledger::skipped("this is no git repository");
        return;
    }
    let code = code();
    for Mutation { name, tests, .. } in mutations() {
        for test in &tests {
            // A filter may be a module of unit tests, such as `couch::policy`.
            let last = test.rsplit("::").next().unwrap();
            let (function, module) = (format!("fn {last}("), format!("mod {last};"));
            let file = code.contains(&function) || code.contains(&module);
            assert!(file, "{name}: there is no test {test}");
        }
        let said = code.lines().any(|line| {
            let comment = line.trim_start().strip_prefix("//").unwrap_or_default();
            comment.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word == name)
        });
        assert!(said, "no comment of a test names the mutation {name} ({tests:?})");
    }
}

#[test]
fn the_document_has_every_guarantee_every_mutation_and_no_test_that_is_not_there() {
    let document = std::fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let guarantees: Vec<&str> = document.split("\n## ").skip(1).collect();
    let guarantees = guarantees.iter().filter(|text| text.starts_with(|c: char| c.is_ascii_digit()));
    let guarantees: Vec<&&str> = guarantees.collect();
    assert_eq!(guarantees.len(), 8);
    let code = code();
    for mutation in mutations() {
        let number: usize = mutation.guarantee.parse().unwrap();
        let line = format!("`{}`", mutation.name);
        assert!(guarantees[number - 1].contains(&line), "guarantee {number} does not name {line}");
        for test in &mutation.tests {
            assert!(guarantees[number - 1].contains(test), "guarantee {number}: {test}");
        }
    }
    let mut named = BTreeSet::new();
    for guarantee in guarantees {
        for word in guarantee.split('`').skip(1).step_by(2) {
            // `file::test`, as in cargo; a path of a file has a dot.
            if word.contains("::") && !word.contains([' ', '.', '/']) {
                let last = word.rsplit("::").next().unwrap();
                let there = code.contains(&format!("fn {last}(")) || code.contains(&format!("mod {last};"));
                assert!(there, "there is no test {word}");
                named.insert(word);
            }
        }
    }
    assert!(named.len() >= 30, "{named:?}");
}
