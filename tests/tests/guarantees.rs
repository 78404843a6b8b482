//! `docs/guarantees.md`, the mutations of `tests/mutations` and the tests agree: each guarantee names
//! existing tests and has mutations, each mutation applies to the current code and names a test, and that
//! test names the mutation. `docs/mutations.md` is written from the patches (`make reference`).
//!
//! `make mutants` checks that each mutation makes its test fail, which takes an hour.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::format_push_string)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mutation, as described by its file.
struct Mutation {
    name: String,
    guarantee: String,
    /// What is true only because of the code that the patch removes.
    holds: String,
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
            assert!(field("Holds").ends_with('.'), "{}", file.display());
            Mutation {
                name: file.file_stem().unwrap().to_string_lossy().into_owned(),
                guarantee: field("Guarantee"),
                holds: field("Holds"),
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
        trove_couchdb_tests::test_log::skipped("this is no git repository");
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
        trove_couchdb_tests::test_log::skipped("this is no git repository");
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
fn the_document_has_every_guarantee_and_no_test_that_is_not_there() {
    let document = std::fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let guarantees: Vec<&str> = titles(&document);
    assert_eq!(guarantees.len(), 8);
    let code = code();
    let mut named = BTreeSet::new();
    // `file::test`, as in cargo; a path of a file has a dot.
    for word in document.split('`').skip(1).step_by(2) {
        if word.contains("::") && !word.contains([' ', '.', '/', '…']) {
            let last = word.rsplit("::").next().unwrap();
            let there = code.contains(&format!("fn {last}(")) || code.contains(&format!("mod {last};"));
            assert!(there, "there is no test {word}");
            named.insert(word);
        }
    }
    assert!(named.len() >= 30, "{named:?}");
}

/// The titles of the guarantees, which begin with their numbers.
fn titles(document: &str) -> Vec<&str> {
    let sections = document.split("\n## ").skip(1);
    let titles = sections.map(|section| section.lines().next().unwrap());
    titles.filter(|title| title.starts_with(|c: char| c.is_ascii_digit())).collect()
}

#[test]
fn the_list_of_mutations_is_that_of_the_patches() {
    let document = std::fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let mutations = mutations();
    let mut page =
        "# Mutations\n\nEach patch in `tests/mutations` removes code that a [guarantee](guarantees.md) \
                    needs, and its test must fail then (`make mutants`).\nThis page is generated from the \
                    patches (`make reference`).\n"
            .to_owned();
    for (number, title) in (1..).zip(titles(&document)) {
        page += &format!("\n## {title}\n\n");
        page += "| mutation | holds because of the removed code | failing test |\n|---|---|---|\n";
        let number = number.to_string();
        let of_it: Vec<_> = mutations.iter().filter(|mutation| mutation.guarantee == number).collect();
        assert!(!of_it.is_empty(), "no mutation of guarantee {title}");
        for Mutation { name, holds, tests, .. } in of_it {
            page += &format!("| `{name}` | {holds} | `{}` |\n", tests.join("`, `"));
        }
    }
    let file = root().join("docs/mutations.md");
    if std::env::var_os("WRITE_REFERENCE").is_some() {
        std::fs::write(&file, page).unwrap();
    } else {
        assert_eq!(std::fs::read_to_string(file).unwrap(), page, "run `make reference`");
    }
}
