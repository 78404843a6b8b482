//! The audit log: one JSON line for each command that changes something, with its sender and its outcome.
//!
//! ```text
//! transport -> Record -> Audit -+-> the log, as target "audit"
//!                               +-> a thread of its own -> file, rotated by size
//! ```
//!
//! A caller is answered after the line is written, so every outcome that a caller has seen is in the audit
//! log. But a disk that hangs or is full costs the line, never the command. No secret can get in: a
//! [`Record`] consists of names and of failures, which contain no secrets by construction.

mod file;
mod record;

use std::{thread, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time,
};
use tracing::{Span, error, info, warn};

use file::RotatedFile;
pub use record::{AuditOutcome, Record, Source, Target};
use trove_couchdb_config::{AuditFile, AuditSettings};

/// How many lines may wait for a slow disk; more are lost.
const QUEUE: usize = 1024;

/// How long an answer waits for its line.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The target of audit lines in the log; `log` lets them through unless the filter names this target.
pub const TARGET: &str = "audit";

/// Writes audit records. Clones write to the same place.
#[derive(Debug, Clone)]
pub struct Audit {
    sink: Sink,
}

#[derive(Debug, Clone)]
enum Sink {
    Off,
    Journal,
    File(mpsc::Sender<Line>),
}

struct Line {
    text: String,
    written: oneshot::Sender<()>,
}

impl Audit {
    /// Opens the file, if one is configured. The agent starts even if the file cannot be written: the error
    /// is logged, and every line tries again.
    pub fn new(settings: &AuditSettings) -> Self {
        let sink = match &settings.file {
            AuditFile::Off => Sink::Off,
            AuditFile::Journal => Sink::Journal,
            AuditFile::At(path) => {
                let file = RotatedFile::new(path.clone(), settings.max_bytes, settings.keep);
                let (sender, lines) = mpsc::channel(QUEUE);
                // The thread's log lines are about this instance, too.
                let span = Span::current();
                let work = move || span.in_scope(|| write_all(file, lines));
                match thread::Builder::new().name("audit".to_owned()).spawn(work) {
                    Ok(_) => Sink::File(sender),
                    Err(error) => {
                        error!(%error, "The audit file has no thread to write it; audit lines go to the log.");
                        Sink::Journal
                    }
                }
            }
        };
        Self { sink }
    }

    /// Writes one record; returns when it is written, or when that takes too long.
    pub async fn write(&self, record: &Record) {
        match &self.sink {
            Sink::Off => {}
            Sink::Journal => info!(target: TARGET, "{}", record.to_line()),
            Sink::File(lines) => {
                let (written, done) = oneshot::channel();
                if lines.try_send(Line { text: record.to_line() + "\n", written }).is_err() {
                    error!(method = record.method, "The audit file is too slow; a line is lost.");
                } else if time::timeout(TIMEOUT, done).await.is_err() {
                    warn!("The audit file is slow; a command is answered before its line is written.");
                }
            }
        }
    }
}

fn write_all(mut file: RotatedFile, mut lines: mpsc::Receiver<Line>) {
    if let Err(error) = file.open() {
        error!(%error, "The audit file can't be written.");
    }
    while let Some(Line { text, written }) = lines.blocking_recv() {
        if let Err(error) = file.append(text.as_bytes()) {
            error!(%error, "A line of the audit file is lost.");
        }
        // The receiver is gone if the answer could not wait.
        let _listening = written.send(());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn record(id: &str) -> Record {
        Record {
            request_id: None,
            id: Some(id.to_owned()),
            source: Source::Broker,
            user: None,
            project: None,
            method: "create_user",
            target: Target::default(),
            verdict: AuditOutcome::Ok,
            duration: Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn a_line_is_there_when_the_write_returns() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log/audit.log");
        let settings = AuditSettings { file: AuditFile::At(path.clone()), max_bytes: 1 << 20, keep: 1 };
        let audit = Audit::new(&settings);
        for id in ["one", "two"] {
            audit.write(&record(id)).await;
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.ends_with('\n') && text.lines().last().unwrap().contains(id), "{text}");
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_costs_only_its_lines() {
        let directory = tempfile::tempdir().unwrap();
        let file = AuditFile::At(directory.path().to_owned());
        let settings = AuditSettings { file, max_bytes: 1 << 20, keep: 1 };
        Audit::new(&settings).write(&record("one")).await;
    }
}
