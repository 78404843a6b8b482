//! For every crate of the workspace: no circular dependencies between modules, files of limited length,
//! directories of limited size.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{
    modules::{Modules, Name},
    rust_files, workspace,
};

const MAX_LINES: usize = 350;
const MAX_FILES: usize = 14;

/// Known circular dependencies of a crate's modules, which issue 16 is to remove. The test fails for an entry
/// that is no longer needed.
const CIRCLES: &[(&str, &[&str])] = &[
    ("tests/src", &["couch", "real_couch"]),
    ("tests/src", &["faults"]),
    ("tests/src", &["tour"]),
    ("tests/couchdb/src", &["faults", "log", "node", "trouble"]),
    ("tests/couchdb/src", &["passwords", "personality"]),
    ("tests/couchdb/src", &["routes"]),
    ("benches/src", &["sections"]),
];

/// Directories that still have more files than allowed, for the same reason.
const FULL: &[&str] = &["tests/src", "tests/src/faults", "tests/couchdb/src"];

/// `*/src` of every member of the workspace.
fn sources() -> Vec<PathBuf> {
    let manifest: toml::Table =
        std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap().parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    members.iter().map(|member| workspace().join(member.as_str().unwrap()).join("src")).collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap().display().to_string()
}

/// The groups of modules that use each other, directly or indirectly.
fn circles<'a>(uses: &BTreeMap<&'a Name, BTreeSet<&'a Name>>) -> Vec<BTreeSet<&'a Name>> {
    let reached: BTreeMap<&Name, BTreeSet<&Name>> = uses
        .keys()
        .map(|&from| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
            while let Some(next) = open.pop() {
                open.extend(uses[next].iter().filter(|used| seen.insert(**used)));
            }
            (from, seen)
        })
        .collect();
    let groups: BTreeSet<BTreeSet<&Name>> = reached
        .iter()
        .filter(|(from, seen)| seen.contains(*from))
        .map(|(from, seen)| seen.iter().filter(|to| reached[*to].contains(from)).copied().collect())
        .collect();
    groups.into_iter().collect()
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let mut unused: BTreeSet<_> = CIRCLES.iter().collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let modules = Modules::of(&source);
        let uses = modules.uses();
        for circle in circles(&uses) {
            let is_known = |(place, names): &(&str, &[&str])| {
                let within = |name: &&Name| name.first().is_some_and(|first| names.contains(&first.as_str()));
                shown(&source) == *place && circle.iter().all(within)
            };
            if let Some(known) = CIRCLES.iter().find(|known| is_known(known)) {
                unused.remove(known);
                continue;
            }
            let edges = circle.iter().flat_map(|from| {
                let to = uses[from].intersection(&circle);
                to.map(|to| format!("{} -> {}", from.join("::"), to.join("::")))
            });
            wrong.push(format!("{}: {:#?}", shown(&source), edges.collect::<Vec<_>>()));
        }
    }
    assert!(
        wrong.is_empty(),
        "modules use each other in a circle; move what both need:\n{}",
        wrong.join("\n")
    );
    assert!(unused.is_empty(), "there is no such circle any more; take it out of the list: {unused:?}");
}

#[test]
fn files_and_directories_have_a_size_that_can_be_read() {
    let mut wrong = Vec::new();
    let mut files: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for file in sources().iter().flat_map(|source| rust_files(source)) {
        let directory = file.parent().unwrap().to_owned();
        if directory.ends_with("tests") || file.ends_with("tests.rs") {
            continue;
        }
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{} has {lines} lines, at most {MAX_LINES} are allowed", shown(&file)));
        }
        *files.entry(directory).or_default() += 1;
    }
    let full: BTreeSet<String> = files
        .iter()
        .filter(|(_, count)| **count > MAX_FILES)
        .map(|(directory, _)| shown(directory))
        .collect();
    let known: BTreeSet<String> = FULL.iter().map(ToString::to_string).collect();
    wrong.extend(
        full.difference(&known).map(|directory| format!("{directory} has more than {MAX_FILES} files")),
    );
    wrong.extend(
        known.difference(&full).map(|directory| format!("take {directory} out of the list of full ones")),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_test_itself_follows_paths() {
    let files = |files: &[(&str, &str)]| {
        Modules::read(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
    };
    let found = |modules: &Modules| {
        let join = |circle: BTreeSet<&Name>| circle.iter().map(|name| name.join("::")).collect::<Vec<_>>();
        circles(&modules.uses()).into_iter().map(join).collect::<Vec<_>>()
    };
    let re_exports = [
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;"),
        ("a.rs", "use crate::B;"),
        ("b.rs", "pub struct B;\n#[cfg(test)]\nmod tests {\n    use crate::A;\n}"),
    ];
    assert!(found(&files(&re_exports)).is_empty());
    let circle = [
        ("lib.rs", "mod a;\nmod b;\npub use b::B;"),
        ("a.rs", "use crate::{B, c::D as E};"),
        ("b.rs", "fn f() {\n    super::a::g();\n}"),
    ];
    assert_eq!(found(&files(&circle)), [["a", "b"]]);
    let parent = [
        ("lib.rs", "mod a;"),
        (
            "a/mod.rs",
            "mod b;\nmod c;\npub use c::C;\nstruct A;\nfn f() { b::g() }\n#[cfg(test)]\nmod t;\nuse std::fmt;",
        ),
        ("a/b.rs", "// use crate::x\nuse super::A;"),
        ("a/c.rs", "use super::b;"),
        ("a/t.rs", "use super::C;"),
    ];
    assert_eq!(found(&files(&parent)), [["a", "a::b"]]);
    let visibility = [
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod b;\nfn f() { b::g() }"),
        ("a/b.rs", "pub(in crate::a) fn g() {}"),
    ];
    assert!(found(&files(&visibility)).is_empty());
    let visibility =
        [("lib.rs", "mod a;\nfn f() { a::g() }"), ("a.rs", "pub(in crate) fn g() { crate::a::h() }")];
    assert!(found(&files(&visibility)).is_empty());
}
