//! The summary that `make test` prints: which tests were skipped, and which used no real CouchDB.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use trove_couchdb_tests::real_couch;
use trove_couchdb_tests::test_log::Summary;

/// Prints the tests of a log that count as skipped, by reason, and their number.
#[derive(Debug, Parser)]
#[command(name = "skipped", max_term_width = 100)]
struct Args {
    /// The file that `COUCHDB_TESTS_LEDGER` named
    test_log: PathBuf,
}

fn main() -> ExitCode {
    match summary(&Args::parse()) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn summary(args: &Args) -> Result<String> {
    let text = match std::fs::read_to_string(&args.test_log) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.with_context(|| format!("cannot read {}", args.test_log.display()))?,
    };
    let summary =
        Summary::read(&text).with_context(|| format!("{} is no log of tests", args.test_log.display()))?;
    Ok(summary.text(real_couch::configured()))
}
