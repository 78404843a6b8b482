//! `log-tail`: the last lines of CouchDB's log, for the report on a CouchDB that does not start.
//!
//! CouchDB writes to a file, and what ends it before it can open that file is on its standard error: in the
//! journal of its unit, or in its container's log. A source that can't be read is named with the reason.

use std::{path::Path, time::Duration};

use trove_couchdb_protocol::host::{HostError, Lines, LogSource, LogTail, Verb};

use crate::{
    backend,
    policy::{Manager, Policy},
    program::Limits,
    task::{Task, arguments},
};

/// The limits of each program. Two sources must fit into one frame.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(10), output: 24 * 1024 };

/// Reads root's and CouchDB's files and nothing else.
const READS: [&str; 6] = [
    "CapabilityBoundingSet=CAP_DAC_READ_SEARCH",
    "PrivateNetwork=yes",
    "PrivateDevices=yes",
    "ProtectSystem=strict",
    "ProtectKernelTunables=yes",
    "RestrictAddressFamilies=none",
];

/// Reports the last lines of every source.
///
/// # Errors
/// [`HostError::NotAllowed`] if there is no source.
pub async fn perform(policy: &Policy, verb: &Verb) -> Result<LogTail, HostError> {
    let Verb::LogTail(lines) = verb else { return Ok(LogTail { sources: Vec::new() }) };
    let mut sources = Vec::new();
    if let Some(file) = &policy.couchdb.log_file {
        let path = file.as_path();
        let read = Task {
            name: "log-file",
            program: Path::new("/usr/bin/tail"),
            arguments: arguments(["--lines", &lines.count().to_string(), "--"]),
            environment: &[],
            properties: &READS,
            input: None,
            limits: LIMITS,
        };
        sources.push(source(path.display().to_string(), read.with(path).output().await, *lines));
    }
    match &policy.service.manager {
        Manager::Systemd { unit } => {
            let read = Task {
                name: "log-journal",
                program: Path::new("/usr/bin/journalctl"),
                arguments: arguments([
                    "--quiet",
                    "--no-pager",
                    "--output=cat",
                    "--lines",
                    &lines.count().to_string(),
                    "--unit",
                    unit.as_str(),
                ]),
                environment: &[],
                properties: &READS,
                input: None,
                limits: LIMITS,
            };
            sources.push(source(format!("the journal of {unit}"), read.output().await, *lines));
        }
        Manager::Docker { container, .. } => {
            let text = backend::container_log(&policy.service, *lines).await;
            sources.push(source(format!("the log of container {container}"), text, *lines));
        }
        Manager::Commands { .. } => {}
    }
    if sources.is_empty() {
        let what = Verb::LogTail(*lines).name().to_owned();
        let advice = "set couchdb.log_file to CouchDB's log".to_owned();
        return Err(HostError::NotAllowed { what, advice });
    }
    Ok(LogTail { sources })
}

fn source(name: String, text: Result<Vec<u8>, HostError>, lines: Lines) -> LogSource {
    match text {
        Ok(text) => {
            let text = String::from_utf8_lossy(&text);
            let mut last: Vec<String> = text.lines().rev().take(lines.count()).map(clean).collect();
            last.reverse();
            LogSource { name, lines: last, error: None }
        }
        Err(error) => LogSource { name, lines: Vec::new(), error: Some(error.to_string()) },
    }
}

/// A log may hold control characters, which a terminal would obey.
fn clean(line: &str) -> String {
    line.chars().filter(|letter| !letter.is_control() || *letter == '\t').collect()
}
