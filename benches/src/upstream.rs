//! Upstream's `CouchDBAdmin` in a Python process (`benches/python/upstream.py`).

use std::{
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use trove_couchdb_tests::process::Process;

use crate::environment::{self, ADMIN, Couch};

/// A driver that runs one operation after the other.
#[derive(Debug)]
pub struct Upstream {
    _process: Process,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    _home: TempDir,
}

/// The cost of one operation, by Python's own clocks.
#[derive(Debug, Deserialize)]
pub struct Took {
    /// Wall-clock seconds.
    pub wall: f64,
    /// CPU seconds, including shells and curl.
    pub cpu: f64,
    /// Number of started shells.
    pub forks: u32,
    /// The result.
    pub result: Value,
}

impl Upstream {
    /// Starts the driver for a server.
    pub fn start(couch: &Couch) -> Result<Self> {
        let python = environment::python(
            &environment::directory().join("python/requirements-upstream.txt"),
            "python-venv-upstream",
        )?;
        let home = tempfile::tempdir()?;
        let mut command = Command::new(python);
        command.args(["-W", "ignore"]).arg(environment::directory().join("python/upstream.py"));
        command.args([&couch.port()?.to_string(), ADMIN.0, ADMIN.1]);
        command.env("HOME", home.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        // curl's progress goes to standard error, and this code ignores CouchDB's refusals.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process::spawn(&mut command, None)?;
        let stdin = process.take_stdin().context("no standard input")?;
        let stdout = BufReader::new(process.take_stdout().context("no standard output")?);
        let mut upstream = Self { _process: process, stdin, stdout, _home: home };
        let ready = upstream.line()?;
        ensure!(ready.trim() == "ready", "upstream's code did not start; is curl installed?");
        Ok(upstream)
    }

    /// Runs one operation; blocks until it is done.
    pub fn run(&mut self, op: &str, args: &Value) -> Result<Took> {
        writeln!(self.stdin, "{}", json!({ "op": op, "args": args }))?;
        let line = self.line()?;
        serde_json::from_str(&line).with_context(|| format!("upstream's {op} ended with {line:?}"))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line)
    }
}
