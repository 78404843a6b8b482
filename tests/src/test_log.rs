//! Records which tests were skipped and which CouchDB each test used. A skip is printed at once; `make test`
//! prints the totals at its end (`src/bin/skipped.rs`).
//!
//! Callers: tests that cannot run here, and [`crate::couch`] when it provides a server. Rust's test harness
//! has no skipped tests: a test that returns early passes, and its output is hidden. So the line goes
//! directly to standard error, and into the file that `COUCHDB_TESTS_LEDGER` names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;

use serde::{Deserialize, Serialize};

/// The variable that names the file to which all test programs of a run append. The name must not look like a
/// setting of the agent (`TROVE_COUCHDB_…`).
pub const VARIABLE: &str = "COUCHDB_TESTS_LEDGER";

/// The default reason for using the in-memory server.
pub const NO_REASON: &str = "no reason is known: it may be able to use the real one";

/// The reason of a test that starts an agent without a CouchDB of the harness.
pub const OWN: &str = "it starts its CouchDB itself, or needs none";

/// One line of the file: what a test did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestRecord {
    program: String,
    test: String,
    what: What,
}

/// The outcome in an [`TestRecord`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The test returned early, for this reason.
    Skipped(String),
    /// The test used a real CouchDB.
    Real,
    /// The test used the in-memory CouchDB, for this reason.
    InMemory(String),
}

/// Reports that the running test is skipped, and why; the test must return afterwards.
pub fn skipped(why: &str) {
    let record = TestRecord::of_this_test(What::Skipped(why.to_owned()));
    // The test harness captures `eprintln!` and shows it for failed tests only, but does not capture the
    // stream itself. If standard error is closed, there is no reader.
    let _closed = writeln!(std::io::stderr(), "SKIPPED {} {}: {why}", record.program, record.test).is_err();
    append(&record);
}

/// Records which CouchDB the running test uses.
pub fn used(what: What) {
    append(&TestRecord::of_this_test(what));
}

impl TestRecord {
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

fn append(record: &TestRecord) {
    let Some(path) = std::env::var_os(VARIABLE) else { return };
    let line = serde_json::to_string(record).map(|line| format!("{line}\n"));
    let written = line.map_err(std::io::Error::from).and_then(|line| {
        // A single write of less than a page: concurrent appends do not mix.
        std::fs::File::options().create(true).append(true).open(&path)?.write_all(line.as_bytes())
    });
    if let Err(error) = written {
        eprintln!("cannot write {}: {error}", path.display());
    }
}

/// The totals of a log.
#[derive(Debug, Default)]
pub struct Summary {
    skipped: BTreeMap<String, BTreeSet<String>>,
    real: BTreeSet<String>,
    in_memory: BTreeMap<String, BTreeSet<String>>,
}

impl Summary {
    /// Parses a log; an invalid line is an error.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        let mut summary = Self::default();
        let mut in_memory = Vec::new();
        for line in text.lines() {
            let record: TestRecord = serde_json::from_str(line)?;
            let name = format!("{} {}", record.program, record.test);
            match record.what {
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

    /// How many tests count as skipped; with a real server `configured`, tests on the in-memory server do
    /// too.
    pub fn count(&self, configured: bool) -> usize {
        let away = self.in_memory.values().filter(|_| configured);
        self.skipped.values().chain(away).flatten().collect::<BTreeSet<_>>().len()
    }

    /// The text that is printed at the end of a run.
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
        let record = TestRecord { program: "p".to_owned(), test: test.to_owned(), what };
        serde_json::to_string(&record).unwrap()
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
    fn the_record_has_the_names_of_program_and_test() {
        let record = TestRecord::of_this_test(What::Real);
        assert_eq!(record.program, "trove_couchdb_tests");
        assert_eq!(record.test, "test_log::tests::the_record_has_the_names_of_program_and_test");
    }

    #[test]
    fn a_broken_log_is_an_error() {
        assert!(Summary::read("{\"program\":\"p\"").is_err());
    }
}
