//! The checks of `cargo deny check bans licenses sources`, as far as `cargo metadata` allows: for machines
//! without cargo-deny, so that no crate is added unnoticed. Both use the list in deny.toml.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn deny() -> toml::Table {
    std::fs::read_to_string(workspace().join("deny.toml")).unwrap().parse().unwrap()
}

/// Every package that Cargo.lock resolves for the targets of deny.toml.
fn packages(deny: &toml::Table) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version=1", "--locked", "--offline"]).current_dir(workspace());
    for target in deny["graph"]["targets"].as_array().unwrap() {
        command.arg(format!("--filter-platform={}", target.as_str().unwrap()));
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let used: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    let all = metadata["packages"].as_array().unwrap().iter();
    all.filter(|package| used.contains(package["id"].as_str().unwrap())).cloned().collect()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap()
}

fn texts<'a>(list: &'a toml::Value, key: Option<&str>) -> Vec<&'a str> {
    let item = |item: &'a toml::Value| key.map_or(item, |key| &item[key]).as_str().unwrap();
    list.as_array().unwrap().iter().map(item).collect()
}

/// Whether these licences satisfy an SPDX expression of `AND`, `OR` and brackets.
fn is_met(expression: &str, allowed: &[&str]) -> bool {
    let text =
        expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "+WITH+");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = either(&mut rest, allowed);
    assert!(rest.is_empty(), "{expression}");
    met
}

fn either(rest: &mut &[&str], allowed: &[&str]) -> bool {
    let mut met = both(rest, allowed);
    while rest.first() == Some(&"OR") {
        *rest = &rest[1..];
        met |= both(rest, allowed);
    }
    met
}

fn both(rest: &mut &[&str], allowed: &[&str]) -> bool {
    let mut met = one(rest, allowed);
    while rest.first() == Some(&"AND") {
        *rest = &rest[1..];
        met &= one(rest, allowed);
    }
    met
}

fn one(rest: &mut &[&str], allowed: &[&str]) -> bool {
    let (first, behind) = rest.split_first().expect("a licence");
    *rest = behind;
    if *first != "(" {
        return allowed.contains(&first.replace("+WITH+", " WITH ").as_str());
    }
    let met = either(rest, allowed);
    assert_eq!(rest.first(), Some(&")"));
    *rest = &rest[1..];
    met
}

#[test]
fn everything_is_from_crates_io_and_under_a_licence_of_the_list() {
    let deny = deny();
    let allowed = texts(&deny["licenses"]["allow"], None);
    let packages = packages(&deny);
    assert!(packages.len() > 150, "cargo metadata told of {} packages", packages.len());
    let mut wrong = Vec::new();
    for package in &packages {
        match package["source"].as_str() {
            None => assert!(package["id"].as_str().unwrap().starts_with("path+file://"), "{}", package["id"]),
            Some(CRATES_IO) => {}
            Some(other) => wrong.push(format!("{} comes from {other}", name(package))),
        }
        let licence = package["license"].as_str().unwrap_or_default();
        if licence.is_empty() || !is_met(licence, &allowed) {
            wrong.push(format!("{} has the licence {licence:?}", name(package)));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_crate_has_one_version_unless_listed_and_banned_ones_are_not_there() {
    let deny = deny();
    let skipped: BTreeSet<&str> = texts(&deny["bans"]["skip"], Some("crate")).into_iter().collect();
    let banned = texts(&deny["bans"]["deny"], Some("crate"));
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages(&deny) {
        assert!(!banned.contains(&name(&package)), "{} is banned by deny.toml", name(&package));
        versions
            .entry(name(&package).to_owned())
            .or_default()
            .insert(package["version"].as_str().unwrap().to_owned());
    }
    // The list names the version to be removed.
    let listed = |name: &str, version: &String| skipped.contains(format!("{name}@{version}").as_str());
    for (name, versions) in &versions {
        let unlisted = versions.iter().filter(|version| !listed(name, version)).count();
        assert!(
            unlisted <= 1,
            "{name} has the versions {versions:?}: unify them, or list one in deny.toml with its reason"
        );
    }
    for entry in skipped {
        let (name, version) = entry.split_once('@').expect("CRATE@VERSION");
        let still = versions.get(name).is_some_and(|have| have.len() > 1 && have.contains(version));
        assert!(still, "deny.toml still lists {entry}, which is no duplicate any more");
    }
}

#[test]
fn expressions_of_licences() {
    let allowed = ["MIT", "Apache-2.0 WITH LLVM-exception", "Zlib"];
    for (expression, met) in [
        ("MIT", true),
        ("MIT/GPL-3.0", true),
        ("GPL-3.0 OR (MIT AND Zlib)", true),
        ("MIT AND (GPL-3.0 OR BSL-1.0)", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}
