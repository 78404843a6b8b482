//! Every guarantee holds for random bytes, and for corpus files with bytes changed, removed, duplicated, or
//! mixed with other files.
//!
//! The fuzzer does the same for longer and guided by coverage; this test runs with `cargo test`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use trove_couchdb_properties::{TARGETS, seeds};

/// Runs for each target and kind of input; all together take a second or two.
const CASES: u32 = 400;

/// Texts that often break parsers.
const SPICE: &[&str] = &[
    "\0",
    "\r\n",
    "..",
    "/",
    "%2f",
    "%00",
    "\u{feff}",
    "\u{202e}",
    "\\ud800",
    "\\u0000",
    "[[[[",
    "{\"a\":",
    "1e999",
    "-0",
    "99999999999999999999",
    "null",
    "true",
    "\"",
    "\\",
    ":",
    "_",
    "$a",
    "${",
    "=",
    "[x]",
    "\n  ",
    "@",
    ",",
    "#",
    "\u{1f600}",
];

#[derive(Debug, Clone)]
enum Damage {
    Change(Index, u8),
    Cut(Index, Index),
    Double(Index, Index),
    Insert(Index, usize),
    Cross(Index, Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(place, byte)| Damage::Change(place, byte)),
        (at(), at()).prop_map(|(from, to)| Damage::Cut(from, to)),
        (at(), at()).prop_map(|(from, to)| Damage::Double(from, to)),
        (at(), 0..SPICE.len()).prop_map(|(place, spice)| Damage::Insert(place, spice)),
        (at(), at(), at()).prop_map(|(other, from, to)| Damage::Cross(other, from, to)),
    ]
}

fn apply(mut bytes: Vec<u8>, damage: &Damage, corpus: &[Vec<u8>]) -> Vec<u8> {
    let range = |from: &Index, to: &Index, length: usize| {
        let (from, to) = (from.index(length + 1), to.index(length + 1));
        from.min(to)..from.max(to)
    };
    match damage {
        Damage::Change(place, byte) if !bytes.is_empty() => {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        Damage::Change(..) => {}
        Damage::Cut(from, to) => drop(bytes.drain(range(from, to, bytes.len()))),
        Damage::Double(from, to) => {
            let range = range(from, to, bytes.len());
            let (at, copy) = (range.end, bytes[range].to_vec());
            bytes.splice(at..at, copy);
        }
        Damage::Insert(place, spice) => {
            let place = place.index(bytes.len() + 1);
            bytes.splice(place..place, SPICE[*spice].bytes());
        }
        Damage::Cross(other, from, to) => {
            let other = &corpus[other.index(corpus.len())];
            bytes.truncate(from.index(bytes.len() + 1));
            bytes.extend(&other[to.index(other.len() + 1)..]);
        }
    }
    bytes
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> =
        fs::read_dir(seeds::corpus().join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn for_each_target(run: impl Fn(&mut TestRunner, &[Vec<u8>], fn(&[u8]))) {
    for (target, holds) in TARGETS {
        println!("{target}");
        let mut runner =
            TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        run(&mut runner, &corpus(target), *holds);
    }
}

#[test]
fn no_bytes_break_a_guarantee() {
    for_each_target(|runner, _, holds| {
        let bytes = prop::collection::vec(any::<u8>(), 0..200);
        let run = |bytes: &[u8]| {
            holds(bytes);
            Ok(())
        };
        runner.run(&bytes, |bytes| run(&bytes)).unwrap();
        runner.run(&any::<String>(), |text| run(text.as_bytes())).unwrap();
    });
}

#[test]
fn no_damage_breaks_a_guarantee() {
    for_each_target(|runner, corpus, holds| {
        let plan = (any::<Index>(), prop::collection::vec(damage(), 1..6));
        let run = |(start, damages): (Index, Vec<Damage>)| {
            let start = corpus[start.index(corpus.len())].clone();
            holds(&damages.iter().fold(start, |bytes, damage| apply(bytes, damage, corpus)));
            Ok(())
        };
        runner.run(&plan, run).unwrap();
    });
}
