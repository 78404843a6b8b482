//! Checks the allowed imports (the table in `agent/src/lib.rs`), and the structure of every crate
//! (`structure`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod modules;
mod structure;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tables::{HOSTD_MAY_IMPORT, MAY_DEPEND, MAY_IMPORT, ONLY_IN, PARTS_OF_TRANSPORT};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn module_of(file: &Path, source: &Path) -> String {
    let first = file.strip_prefix(source).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The names after `crate::` in code, also those of `use crate::{a, b::c}`.
fn imported(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let names = match rest.strip_prefix('{') {
            Some(list) => top_level(list),
            None => vec![rest.to_owned()],
        };
        let name = |text: &String| {
            text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        found.extend(names.iter().map(name));
    }
    found
}

fn top_level(list: &str) -> Vec<String> {
    let (mut depth, mut items) = (0, vec![String::new()]);
    for character in list.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            other if depth == 0 => items.last_mut().unwrap().push(other),
            _ => {}
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for (source, table) in [("agent/src", MAY_IMPORT), ("host/src", HOSTD_MAY_IMPORT)] {
        wrong.extend(imports_not_in(&workspace().join(source), table));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn imports_not_in(source: &Path, table: &[(&str, &[&str])]) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = table.iter().copied().collect();
    let mut wrong = Vec::new();
    for file in rust_files(source) {
        let module = module_of(&file, source);
        // Tests may import anything.
        if ["lib", "main"].contains(&module.as_str()) || file.ends_with("tests.rs") {
            continue;
        }
        let below = file.strip_prefix(source).unwrap().with_extension("");
        let may = below.ancestors().find_map(|module| allowed.get(module.to_str().unwrap()));
        let may = may.unwrap_or_else(|| panic!("{module} is not in the table"));
        let code = code(&file);
        let names = imported(code.split("mod tests").next().unwrap());
        wrong.extend(
            names
                .into_iter()
                .filter(|name| *name != module && !may.contains(&name.as_str()))
                .map(|name| format!("{}: {module} -> {name}", file.display())),
        );
    }
    wrong
}

/// D-Bus and the Engine API are reserved for the privileged helper, and each is used in one file only.
#[test]
fn service_managers_are_asked_by_the_helper_only() {
    for (name, may) in [
        ("zbus", "backend/systemd.rs"),
        ("bollard", "backend/docker.rs"),
        ("zbus_systemd", "backend/systemd.rs"),
    ] {
        for source in ["agent/src", "cli/src", "host/src"] {
            for file in rust_files(&workspace().join(source)) {
                let door = source == "host/src" && file.ends_with(may);
                assert!(door || !names_crate(&code(&file), name), "{} names {name}", file.display());
            }
        }
    }
}

#[test]
fn outside_crates_have_one_door() {
    let source = workspace().join("agent/src");
    for file in rust_files(&source) {
        let below = file.strip_prefix(&source).unwrap().with_extension("");
        for (name, may) in ONLY_IN {
            // A log target such as "lapin::channel" is a text, not a use of the crate.
            let code = code(&file).replace(&format!("\"{name}::"), "");
            let named = names_crate(&code, name);
            let door = may.iter().any(|door| below.starts_with(door));
            assert!(!named || door, "{} names {name}", file.display());
        }
    }
}

/// The request pipeline does not know the transports.
#[test]
fn the_parts_of_transport_point_one_way() {
    let modules = modules::Modules::of(&workspace().join("agent/src"));
    let uses = modules.uses();
    for (part, may) in PARTS_OF_TRANSPORT {
        let within = |name: &&modules::Name| name.starts_with(&["transport".to_owned(), (*part).to_owned()]);
        assert!(uses.keys().any(within), "there is no {part}");
        for (from, used) in uses.iter().filter(|(name, _)| within(name)) {
            for to in used.iter().filter(|to| to.first().is_some_and(|first| first == "transport")) {
                let other = to.get(1).map_or("itself", String::as_str);
                assert!(other == *part || may.contains(&other), "{} -> {}", from.join("::"), to.join("::"));
            }
        }
    }
}

/// Whether the code uses `name::` as a whole word: `std::os::unix::fs` does not name `nix`.
fn names_crate(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn the_operators_tool_speaks_amqp_in_two_places_and_asks_in_one() {
    let source = workspace().join("cli/src");
    for (name, may) in [
        ("lapin::", &["client/broker.rs", "doctor/broker.rs"][..]),
        ("rpassword::", &["prompt.rs"]),
        ("comfy_table::", &["output/table.rs"]),
    ] {
        for file in rust_files(&source) {
            let named = code(&file).contains(name);
            assert!(!named || may.iter().any(|door| file.ends_with(door)), "{} names {name}", file.display());
        }
    }
}

#[test]
fn the_protocol_knows_no_io() {
    for file in rust_files(&workspace().join("protocol/src")) {
        if file.ends_with("tests.rs") {
            continue;
        }
        let code = code(&file);
        let code = code.split("mod tests").next().unwrap();
        for forbidden in ["std::fs", "std::net", "std::env", "tokio", "lapin", "reqwest"] {
            assert!(!code.contains(forbidden), "{} names {forbidden}", file.display());
        }
    }
}

/// The search runs the same code as the agent only if the core decides from its events alone.
#[test]
fn the_delivery_core_knows_no_io_no_clock_and_no_chance() {
    for file in rust_files(&workspace().join("delivery/src")) {
        let code = code(&file);
        let code = code.split("mod tests").next().unwrap();
        for forbidden in [
            "std::fs",
            "std::net",
            "std::env",
            "std::time",
            "std::thread",
            "std::sync",
            "tokio",
            "rand",
            "HashMap",
            "HashSet",
            "async ",
            "trove_couchdb_protocol",
        ] {
            assert!(!code.contains(forbidden), "{} names {forbidden}", file.display());
        }
    }
}

/// Most importantly, the operator's tool does not depend on the daemon.
#[test]
fn crates_depend_one_way() {
    let manifest = |folder: &str| -> toml::Table {
        std::fs::read_to_string(workspace().join(folder).join("Cargo.toml")).unwrap().parse().unwrap()
    };
    let workspace = manifest("");
    let folder = |name: &String| workspace["workspace"]["dependencies"][name].get("path")?.as_str();
    for (krate, may) in MAY_DEPEND {
        let manifest = manifest(krate);
        let ours: Vec<&str> = manifest
            .get("dependencies")
            .and_then(toml::Value::as_table)
            .map(|table| table.keys().filter_map(folder).collect())
            .unwrap_or_default();
        assert!(ours.iter().all(|name| may.contains(name)), "{krate} depends on {ours:?}");
    }
}

/// The HTTP client does not know the administration commands.
#[test]
fn the_http_client_knows_nothing_of_administration() {
    let below = ["http", "path", "reply"];
    for file in below.iter().flat_map(|folder| rust_files(&workspace().join("couchdb/src").join(folder))) {
        let code = code(&file);
        let names = imported(code.split("mod tests").next().unwrap());
        let others: Vec<_> = names.iter().filter(|name| !below.contains(&name.as_str())).collect();
        assert!(others.is_empty() || file.ends_with("tests.rs"), "{} names {others:?}", file.display());
    }
}

/// Everything specific to Trove is in `commands`: the client could administer any CouchDB.
#[test]
fn the_administration_of_couchdb_knows_no_trove() {
    for file in rust_files(&workspace().join("couchdb/src")) {
        let code = code(&file);
        for forbidden in ["FailureClass", "UserModel", "DatabaseModel", "percent_decode"] {
            assert!(!code.contains(forbidden), "{} names {forbidden}", file.display());
        }
        assert!(!names_crate(&code, "trove"), "{} names protocol's `trove`", file.display());
    }
}

/// For test files; `structure` has the limits for all others.
#[test]
fn a_file_of_tests_holds_one_concern() {
    let root = workspace();
    for file in ["cli/tests", "tests/tests"].iter().flat_map(|folder| rust_files(&root.join(folder))) {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines: split it", file.display());
    }
}

#[test]
fn the_test_itself_sees_nested_imports() {
    assert!(names_crate("use nix::unistd;", "nix") && !names_crate("use std::os::unix::fs;", "nix"));
    assert_eq!(imported("use crate::{a, b::{c, d}, e::f};\ncrate::g::h()"), ["a", "b", "e", "g"]);
}
