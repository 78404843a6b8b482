//! `[audit]`, `[log]` and `[trace]`: what the agent records about its work, and where.
//!
//! The log goes to standard error, which systemd sends to the journal, or directly to the journal.

use std::path::PathBuf;

use trove_couchdb_protocol::trove::{LogFilter, LogFilterError};
use url::Url;

use crate::error::Mistake;
use crate::inputs::Entry;
use crate::section::section;
use crate::settings::couchdb::is_own_machine;

section! {
    /// The record of commands that change something.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AuditSettings = "audit" {
        /// Where the agent writes one JSON line for each command that changes something: who, what, the outcome;
        /// never a password. "journal" writes it to the log as target audit, at any log.filter; "off" disables it;
        /// a path is a file of its own, which only its owner can read.
        file: AuditFile = "journal", by Text audit_file;
        /// The size at which the agent starts a new audit file.
        // A smaller file could not hold a few lines.
        max_bytes: u64 = "10485760", in 16_384..=i64::MAX.unsigned_abs();
        /// How many older audit files are kept, as NAME.1, NAME.2 and so on.
        keep: usize = "5", in 1..=1000;
    }
}

section! {
    /// What is logged, and how.
    #[derive(Debug, Clone)]
    pub struct LogSettings = "log" {
        /// A level (off, error, warn, info, debug, trace), or several as target=level, separated by commas:
        /// "info,trove_couchdb_agent::couch=debug". The agent reads it again on SIGHUP; until then `trove-couchdb
        /// log-level` can override it.
        filter: LogFilter = "info", by Text filter;
        /// "text" for people or "json" for a log collector, both to standard error; "journal" for systemd's
        /// journal, with each field as a field of its own.
        format: LogFormat = "text", by Text format;
    }
}

section! {
    /// Where the agent sends spans of commands.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct TraceSettings = "trace" {
        /// The URL of an OpenTelemetry collector that accepts OTLP over HTTP, such as http://127.0.0.1:4318. Each
        /// command is sent as a span, with one for each request to CouchDB; the agent appends /v1/traces to the
        /// URL. Unencrypted only on this machine; otherwise use https. Only in an agent built with --features otlp.
        otlp_endpoint: Option<Url>, by Text otlp_endpoint;
    }
}

/// Where the agent records commands that change something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditFile {
    /// Nowhere.
    Off,
    /// In the log.
    Journal,
    /// In a separate file.
    At(PathBuf),
}

fn audit_file(entry: Entry<'_>) -> Result<AuditFile, Mistake> {
    match entry.text() {
        None | Some("off") => Ok(AuditFile::Off),
        Some("journal") => Ok(AuditFile::Journal),
        Some(text) => {
            let advice = "write journal, off, or a path that begins with / or ~/";
            let refused = |_| entry.invalid(format!("cannot be {text:?}"), advice);
            entry.get().map(AuditFile::At).map_err(refused)
        }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
    /// Directly to systemd's journal, with every field as a journal field.
    Journal,
}

fn filter(entry: Entry<'_>) -> Result<LogFilter, Mistake> {
    let refused = |error: LogFilterError| {
        entry.invalid(format!("is invalid: {}", error.problem), LogFilterError::ADVICE)
    };
    entry.required_text()?.parse().map_err(refused)
}

fn format(entry: Entry<'_>) -> Result<LogFormat, Mistake> {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json), ("journal", LogFormat::Journal)];
    entry.choice(&formats)
}

impl TraceSettings {
    /// Warns if spans are configured but not built in. Not an error, because the agent works without spans.
    pub(crate) fn warning(&self) -> Option<String> {
        let in_vain = self.otlp_endpoint.is_some() && !cfg!(feature = "otlp");
        in_vain.then(|| {
            "trace.otlp_endpoint is set, but this agent was built without it: no span is sent. Build it with --features \
             otlp, or take the line out."
                .to_owned()
        })
    }
}

/// The collector's URL for traces.
fn otlp_endpoint(entry: Entry<'_>) -> Result<Option<Url>, Mistake> {
    let Some(text) = entry.text() else { return Ok(None) };
    let advice = "write http://127.0.0.1:4318 or https://HOST:4318, of a collector that takes OTLP over HTTP";
    let Some(mut url) = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https")) else {
        return Err(entry.invalid("is no URL of http or https", advice));
    };
    let has_login = url.password().is_some() || !url.username().is_empty();
    let problem = "has a login, which must not be in this file";
    entry.ensure(!has_login, problem, "give it to a collector on this machine, which passes spans on")?;
    let is_private = url.scheme() == "https" || is_own_machine(&url);
    entry.ensure(is_private, "would send spans over the network in clear", advice)?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["v1", "traces"]);
    }
    Ok(Some(url))
}
