//! Which tests were skipped, and which CouchDB each test used: a skip is printed at once, and all of it is counted at the
//! end of `make test` (`src/bin/skipped.rs`).
//!
//! Who calls: a test that can't run here, and [`crate::couch`] when it hands out a server. Rust's test harness has no
//! skipped tests: one that returns early passes, and its output is not shown. So the line goes past the harness to
//! standard error, and into the file that `COUCHDB_TESTS_LEDGER` names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;

use serde::{Deserialize, Serialize};

/// Names the file that all test programs of one run append to. It must not look like a setting of the agent
/// (`TROVE_COUCHDB_…`).
pub const VARIABLE: &str = "COUCHDB_TESTS_LEDGER";

/// Why a test uses the in-memory server, as long as nothing shows that it must.
pub const NO_REASON: &str = "no reason is known: it may be able to use the real one";

/// Of a test that starts an agent and asked for no CouchDB of the harness.
pub const OWN: &str = "it starts its CouchDB itself, or needs none";

/// What a test did, one line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    program: String,
    test: String,
    what: What,
}

/// The part of an [`Entry`] that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It returned early, for this reason.
    Skipped(String),
    /// It used a real CouchDB.
    Real,
    /// It used the in-memory CouchDB, for this reason.
    InMemory(String),
}

/// Says that the running test is skipped, and why; the test then returns.
pub fn skipped(why: &str) {
    let entry = Entry::of_this_test(What::Skipped(why.to_owned()));
    // `eprintln!` is captured by the test harness and shown of failed tests only; the stream itself is not. Nobody is
    // left to hear of a standard error that is closed.
    let _closed = writeln!(std::io::stderr(), "SKIPPED {} {}: {why}", entry.program, entry.test).is_err();
    append(&entry);
}

/// Notes which CouchDB the running test uses.
pub fn used(what: What) {
    append(&Entry::of_this_test(what));
}

impl Entry {
    fn of_this_test(what: What) -> Self {
        let program = std::env::current_exe().ok().and_then(|path| Some(path.file_stem()?.to_owned()));
        let program = program.unwrap_or_default().to_string_lossy().into_owned();
        // Cargo appends a hash to the names of test programs.
        let program = match program.rsplit_once('-') {
            Some((name, hash)) if hash.len() == 16 => name.to_owned(),
            _ => program,
        };
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("(unnamed thread)").to_owned();
        Self { program, test, what }
    }
}

fn append(entry: &Entry) {
    let Some(path) = std::env::var_os(VARIABLE) else { return };
    let line = serde_json::to_string(entry).map(|line| format!("{line}\n"));
    let written = line.map_err(std::io::Error::from).and_then(|line| {
        // One write of less than a page: programs and threads that append at the same time don't mix.
        std::fs::File::options().create(true).append(true).open(&path)?.write_all(line.as_bytes())
    });
    if let Err(error) = written {
        eprintln!("cannot write {}: {error}", path.display());
    }
}

/// What a ledger amounts to.
#[derive(Debug, Default)]
pub struct Summary {
    skipped: BTreeMap<String, BTreeSet<String>>,
    real: BTreeSet<String>,
    in_memory: BTreeMap<String, BTreeSet<String>>,
}

impl Summary {
    /// Reads the lines of a ledger; a line that is none is an error.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        let mut summary = Self::default();
        let mut in_memory = Vec::new();
        for line in text.lines() {
            let entry: Entry = serde_json::from_str(line)?;
            let name = format!("{} {}", entry.program, entry.test);
            match entry.what {
                What::Skipped(why) => {
                    summary.skipped.entry(why).or_default().insert(name);
                }
                What::Real => {
                    summary.real.insert(name);
                }
                What::InMemory(why) => in_memory.push((why, name)),
            }
        }
        let explained: BTreeSet<String> =
            in_memory.iter().filter(|(why, _)| why != OWN).map(|(_, name)| name.clone()).collect();
        let reached: BTreeSet<String> = in_memory
            .iter()
            .filter(|(why, _)| why != OWN && why != NO_REASON)
            .map(|(_, name)| name.clone())
            .collect();
        for (why, name) in in_memory {
            let known =
                (why == NO_REASON && reached.contains(&name)) || (why == OWN && explained.contains(&name));
            if !known && !summary.real.contains(&name) {
                summary.in_memory.entry(why).or_default().insert(name);
            }
        }
        Ok(summary)
    }

    /// How many tests count as skipped; those that used the in-memory server do if a real one is `configured`.
    pub fn count(&self, configured: bool) -> usize {
        let away = self.in_memory.values().filter(|_| configured);
        self.skipped.values().chain(away).flatten().collect::<BTreeSet<_>>().len()
    }

    /// What is printed at the end of a run.
    pub fn text(&self, configured: bool) -> String {
        let mut text = String::new();
        let mut list = |head: &str, tests: &BTreeMap<String, BTreeSet<String>>| {
            for (why, tests) in tests {
                let _infallible = writeln!(text, "   {head}: {why} ({} tests)", tests.len());
                for test in tests {
                    let _infallible = writeln!(text, "      {test}");
                }
            }
        };
        list("skipped", &self.skipped);
        if configured {
            list("not on the real CouchDB", &self.in_memory);
        }
        let real = match (configured, self.real.len()) {
            (false, _) => {
                "no test touched a real CouchDB: COUCHDB_HOME and COUCHDB_URL are not set".to_owned()
            }
            (true, real) => format!("{real} tests used the real CouchDB"),
        };
        let _infallible = writeln!(text, "== {} tests count as skipped; {real}", self.count(configured));
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn line(test: &str, what: What) -> String {
        let entry = Entry { program: "p".to_owned(), test: test.to_owned(), what };
        serde_json::to_string(&entry).unwrap()
    }

    #[test]
    fn a_test_counts_once_and_one_that_touched_the_real_server_is_not_skipped() {
        let memory = || What::InMemory("faults".to_owned());
        let silent = || What::InMemory(NO_REASON.to_owned());
        let agent = || What::InMemory(OWN.to_owned());
        let lines = [
            line("both", memory()),
            line("both", What::Real),
            line("both", agent()),
            line("memory", agent()),
            line("memory", silent()),
            line("memory", memory()),
            line("memory", memory()),
            line("away", What::Skipped("no root".to_owned())),
        ];
        let summary = Summary::read(&lines.join("\n")).unwrap();
        assert_eq!(summary.count(true), 2);
        let text = summary.text(true);
        assert!(text.contains("p memory\n") && !text.contains("p both\n"), "{text}");
        assert!(!text.contains(NO_REASON) && !text.contains(OWN), "{text}");
        assert!(text.ends_with("== 2 tests count as skipped; 1 tests used the real CouchDB\n"), "{text}");

        assert_eq!(summary.count(false), 1);
        let text = summary.text(false);
        assert!(text.contains("no root (1 tests)\n      p away\n") && !text.contains("p memory"), "{text}");
        assert!(text.contains("no test touched a real CouchDB"), "{text}");
    }

    #[test]
    fn the_entry_has_the_names_of_program_and_test() {
        let entry = Entry::of_this_test(What::Real);
        assert_eq!(entry.program, "trove_couchdb_tests");
        assert_eq!(entry.test, "ledger::tests::the_entry_has_the_names_of_program_and_test");
    }

    #[test]
    fn a_broken_ledger_is_an_error() {
        assert!(Summary::read("{\"program\":\"p\"").is_err());
    }
}
