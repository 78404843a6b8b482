//! The record that is stored of one operation.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use trove_couchdb_protocol::{Failure, OperationId};

use crate::audit::Source;

/// How many lines of an operation's log are kept: the first, and the newest.
const MOST_LINES: usize = 200;

/// The progress of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// The total, if known.
    pub total: Option<u64>,
    /// What is counted: documents, bytes, databases.
    pub unit: String,
}

impl Progress {
    /// The fraction that is done, if the total is known.
    #[allow(clippy::cast_precision_loss, reason = "a part needs no more digits")]
    pub fn ratio(&self) -> Option<f64> {
        let total = self.total.filter(|total| *total > 0)?;
        Some((self.done as f64 / total as f64).min(1.0))
    }
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It succeeded.
    Succeeded,
    /// It failed for this reason.
    Failed(Failure),
    /// An operator cancelled it. Some of its effects may remain.
    Cancelled(Failure),
}

/// The sender of the command, for the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Giver {
    /// How the command arrived.
    pub source: Source,
    /// `req-…`.
    pub request_id: Option<String>,
    /// The user of the request's context.
    pub user: Option<String>,
    /// The user's project.
    pub project: Option<String>,
}

/// A command that becomes an operation: what its sender asked for, without secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationRequest {
    /// The operation's id.
    pub id: OperationId,
    /// The method that requests it.
    pub kind: String,
    /// The `_unique_id` of the message.
    pub command_id: String,
    /// The message's tags in hexadecimal; the first is the tag of its id.
    #[serde(rename = "marks")]
    pub tags: Vec<String>,
    /// The sender of the command.
    pub giver: Giver,
    /// The message's context, without the token and the catalog. The end is reported in it.
    pub context: Map<String, Value>,
    /// Whether the caller is notified of the end, because it did not wait for the answer.
    pub tells_end: bool,
    /// What the operation does, without secrets.
    pub about: Value,
    /// The message was encrypted, so a failure shows only the beginning of each of its names.
    pub is_sealed: bool,
}

/// One line of an operation's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    at: u64,
    text: String,
}

/// An operation as its file stores it. Contains no secret.
#[allow(clippy::struct_excessive_bools, reason = "independent facts about one operation")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// The command.
    #[serde(flatten)]
    pub request: OperationRequest,
    /// The current step.
    pub step: Option<String>,
    /// The progress of the current step.
    pub progress: Option<Progress>,
    /// The start, in seconds since 1970, as all times here.
    pub started: u64,
    /// The time of the last change.
    pub updated: u64,
    /// When it ended.
    pub ended: Option<u64>,
    /// How often a later agent resumed it.
    pub resumed: u32,
    /// An operator has cancelled it.
    pub is_cancelled: bool,
    /// How it ended.
    pub end: Option<End>,
    /// The end was reported.
    #[serde(rename = "is_told")]
    pub is_reported: bool,
    log: Vec<Line>,
}

impl OperationRecord {
    /// A record that begins now.
    pub(super) fn new(request: OperationRequest) -> Self {
        let started = now();
        let log = vec![Line { at: started, text: "accepted".to_owned() }];
        Self {
            request,
            step: None,
            progress: None,
            started,
            updated: started,
            ended: None,
            resumed: 0,
            is_cancelled: false,
            end: None,
            is_reported: false,
            log,
        }
    }

    /// Adds a line to the log.
    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.updated = now();
        self.log.push(Line { at: self.updated, text: text.into() });
        if self.log.len() > MOST_LINES {
            self.log.remove(1);
        }
    }

    pub(super) fn enter(&mut self, step: &str) {
        self.say(format!("step {step}"));
        (self.step, self.progress) = (Some(step.to_owned()), None);
    }

    pub(super) fn finish(&mut self, end: End) {
        match &end {
            End::Succeeded => self.say("succeeded"),
            End::Failed(failure) => self.say(format!("failed: {}", failure.message)),
            End::Cancelled(_) => self.say("ended as it was cancelled"),
        }
        (self.ended, self.end) = (Some(self.updated), Some(end));
    }

    /// The state, in one word.
    pub fn state(&self) -> &'static str {
        match &self.end {
            None if self.is_cancelled => "cancelling",
            None => "running",
            Some(End::Succeeded) => "succeeded",
            Some(End::Failed(_)) => "failed",
            Some(End::Cancelled(_)) => "cancelled",
        }
    }

    /// Time since the start.
    pub fn age(&self) -> Duration {
        Duration::from_secs(now().saturating_sub(self.started))
    }

    /// The progress in words, for a command that conflicts with the operation.
    pub fn stand(&self) -> String {
        let step = self.step.as_deref().map_or_else(|| "not begun".to_owned(), |step| format!("step {step}"));
        match &self.progress {
            Some(Progress { done, total: Some(total), unit }) => format!("{step}, {done} of {total} {unit}"),
            Some(Progress { done, total: None, unit }) => format!("{step}, {done} {unit}"),
            None => step,
        }
    }

    /// What a list of operations shows.
    pub fn summary(&self) -> Value {
        let reason = match &self.end {
            Some(End::Failed(failure) | End::Cancelled(failure)) => Some(failure.message.as_str()),
            _ => None,
        };
        json!({
            "id": self.request.id, "kind": self.request.kind, "state": self.state(), "step": self.step, "progress": self.progress,
            "started": shown(self.started), "updated": shown(self.updated), "ended": self.ended.map(shown),
            "reason": reason,
        })
    }

    /// All that operators can see, including the log.
    pub fn details(&self) -> Value {
        let mut details = self.summary();
        if let Value::Object(entries) = &mut details {
            entries.insert("about".to_owned(), self.request.about.clone());
            entries.insert("command_id".to_owned(), self.request.command_id.as_str().into());
            entries.insert("request_id".to_owned(), self.request.giver.request_id.clone().into());
            entries.insert("user".to_owned(), self.request.giver.user.clone().into());
            entries.insert("project".to_owned(), self.request.giver.project.clone().into());
            entries.insert("resumed".to_owned(), self.resumed.into());
            entries.insert("told".to_owned(), self.is_reported.into());
            let line = |line: &Line| json!({"at": shown(line.at), "text": line.text});
            entries.insert("log".to_owned(), self.log.iter().map(line).collect());
        }
        details
    }
}

/// A time in RFC 3339: `2026-11-29T22:10:00Z`.
fn shown(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
