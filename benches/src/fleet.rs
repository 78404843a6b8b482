//! The process with many agents (`src/bin/fleet.rs`), as used by the section.

use std::{
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::time::sleep;
use trove_couchdb_tests::process::Process;

/// Many agents in one process.
#[derive(Debug)]
pub struct Fleet {
    process: Process,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

#[derive(Debug, Deserialize)]
struct Report {
    /// The number of an agent and its connection time in Unix seconds.
    connected: Vec<(usize, f64)>,
}

impl Fleet {
    /// Starts the process; the agents connect one after the other.
    pub fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = Process::spawn(command, None)?;
        let stdin = process.take_stdin().context("no standard input")?;
        let mut stdout = BufReader::new(process.take_stdout().context("no standard output")?);
        stdout.read_line(&mut String::new())?;
        Ok(Self { process, stdin, stdout })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// All connections so far, in order of time.
    pub fn report(&mut self) -> Result<Vec<(usize, f64)>> {
        writeln!(self.stdin, "report").context("the fleet is gone")?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let report: Report =
            serde_json::from_str(&line).with_context(|| format!("the fleet said {line:?}"))?;
        Ok(report.connected)
    }

    /// Waits until this many connections were made.
    pub async fn connected(&mut self, wanted: usize, limit: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            let so_far = self.report()?.len();
            if so_far >= wanted {
                return Ok(());
            }
            if began.elapsed() > limit {
                bail!("only {so_far} of {wanted} connections after {limit:?}");
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}
