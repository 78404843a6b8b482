//! Every guarantee holds for every input of the committed corpora: the seeds, and all findings of the fuzzer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, panic::catch_unwind};

use trove_couchdb_properties::{TARGETS, seeds};

#[test]
fn the_corpora_hold() {
    let mut broken = Vec::new();
    for (target, holds) in TARGETS {
        let directory = seeds::corpus().join(target);
        let entries =
            fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut inputs = 0;
        for entry in entries.flatten() {
            let bytes = fs::read(entry.path()).unwrap();
            inputs += 1;
            if catch_unwind(|| holds(&bytes)).is_err() {
                broken.push(format!("{target}/{}", entry.file_name().display()));
            }
        }
        assert!(inputs > 0, "no corpus for {target}");
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_seeds_are_what_the_fixtures_give() {
    let expected = seeds::all().unwrap();
    for seed in &expected {
        let kept = fs::read(seed.path()).unwrap_or_default();
        assert!(kept == seed.bytes, "{}: run `cargo run -p trove-couchdb-properties`", seed.path().display());
    }
    let seeds_kept =
        TARGETS.iter().flat_map(|(target, _)| fs::read_dir(seeds::corpus().join(target)).unwrap());
    let is_seed = |entry: &fs::DirEntry| entry.file_name().display().to_string().starts_with(seeds::PREFIX);
    assert_eq!(seeds_kept.flatten().filter(is_seed).count(), expected.len());
}

/// The fuzzer is not built in CI, so this test checks that it has exactly one target for each guarantee.
#[test]
fn the_fuzzer_knows_every_target() {
    let fuzz = seeds::corpus().join("..");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let names = TARGETS.iter().map(|(target, _)| *target);
    let built: Vec<&str> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
        .collect();
    assert_eq!(built, names.clone().collect::<Vec<_>>());
    for name in names {
        let code = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(code.contains(&format!("trove_couchdb_properties::{name}(data)")), "{name}");
    }
    assert_eq!(fs::read_dir(fuzz.join("fuzz_targets")).unwrap().count(), TARGETS.len());
}
