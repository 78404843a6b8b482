//! What is written down of one operation.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use trove_couchdb_protocol::{Failure, OperationId, SecretMap};

use crate::audit::Source;

/// So many lines of an operation's log are kept: the newest.
const MOST_LINES: usize = 200;

/// How much of a step is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// So much.
    pub done: u64,
    /// Of so much, if that is known.
    pub total: Option<u64>,
    /// What is counted: documents, bytes, databases.
    pub unit: String,
}

impl Progress {
    /// The part that is done, if it is known of how much.
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
    /// As it was wanted.
    Succeeded,
    /// For this reason.
    Failed(Failure),
    /// An operator ended it; a part of it may stand.
    Cancelled(Failure),
}

/// Who gave the command, for the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Giver {
    /// Which way it came.
    pub source: Source,
    /// `req-…`.
    pub request_id: Option<String>,
    /// The user of its context.
    pub user: Option<String>,
    /// The user's project.
    pub project: Option<String>,
}

/// What becomes an operation.
#[derive(Debug)]
pub struct NewOperation {
    /// Its own id.
    pub id: OperationId,
    /// The method that asks for it.
    pub kind: &'static str,
    /// The `_unique_id` of the message.
    pub command_id: String,
    /// The message's marks.
    pub marks: Vec<String>,
    /// Who gave the command.
    pub giver: Giver,
    /// The message's context, without token and catalog.
    pub context: Map<String, Value>,
    /// The caller is told of the end.
    pub tells_end: bool,
    /// What it is about, without secrets.
    pub about: Value,
    /// The arguments, with secrets.
    pub arguments: SecretMap,
    /// The message was encrypted: no failure shows more of a name in it than its beginning.
    pub is_sealed: bool,
}

/// One line of an operation's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    at: u64,
    text: String,
}

/// An operation, as its file has it. Holds no secret.
#[allow(clippy::struct_excessive_bools, reason = "independent facts about one operation")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Its own id.
    pub id: OperationId,
    /// The method that asked for it.
    pub kind: String,
    /// The `_unique_id` of the message.
    pub command_id: String,
    /// The message's marks, hexadecimal, that of its id first.
    pub marks: Vec<String>,
    /// Who gave the command.
    pub giver: Giver,
    /// The context of the message, without token and catalog: what tells of the end goes out in it.
    pub context: Map<String, Value>,
    /// The caller is told of the end: nobody waited for the answer.
    pub tells_end: bool,
    /// What it is about, without secrets.
    pub about: Value,
    /// The message was encrypted: no failure shows more of a name in it than its beginning.
    pub is_sealed: bool,
    /// The step it is in.
    pub step: Option<String>,
    /// How far that one is.
    pub progress: Option<Progress>,
    /// Seconds since 1970, as are the other times.
    pub started: u64,
    /// When this was last changed.
    pub updated: u64,
    /// When it ended.
    pub ended: Option<u64>,
    /// How often an agent went on with it that had not begun it.
    pub resumed: u32,
    /// An operator wants it to end.
    pub is_cancelled: bool,
    /// How it ended.
    pub end: Option<End>,
    /// The end was told to whoever is to hear of it.
    pub is_told: bool,
    log: Vec<Line>,
}

impl OperationRecord {
    /// One that begins now.
    pub(super) fn new(new: NewOperation) -> Self {
        let NewOperation { id, kind, command_id, marks, giver, context, tells_end, about, is_sealed, .. } =
            new;
        let started = now();
        let log = vec![Line { at: started, text: "accepted".to_owned() }];
        Self {
            id,
            kind: kind.to_owned(),
            command_id,
            marks,
            giver,
            context,
            tells_end,
            about,
            is_sealed,
            step: None,
            progress: None,
            started,
            updated: started,
            ended: None,
            resumed: 0,
            is_cancelled: false,
            end: None,
            is_told: false,
            log,
        }
    }

    /// Adds a line to its log.
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

    /// One word for how it stands.
    pub fn state(&self) -> &'static str {
        match &self.end {
            None if self.is_cancelled => "cancelling",
            None => "running",
            Some(End::Succeeded) => "succeeded",
            Some(End::Failed(_)) => "failed",
            Some(End::Cancelled(_)) => "cancelled",
        }
    }

    /// Since it began.
    pub fn age(&self) -> Duration {
        Duration::from_secs(now().saturating_sub(self.started))
    }

    /// How far it is, in words: for who finds it in the way.
    pub fn stand(&self) -> String {
        let step = self.step.as_deref().map_or_else(|| "not begun".to_owned(), |step| format!("step {step}"));
        match &self.progress {
            Some(Progress { done, total: Some(total), unit }) => format!("{step}, {done} of {total} {unit}"),
            Some(Progress { done, total: None, unit }) => format!("{step}, {done} {unit}"),
            None => step,
        }
    }

    /// What an operator is shown in a list.
    pub fn summary(&self) -> Value {
        let reason = match &self.end {
            Some(End::Failed(failure) | End::Cancelled(failure)) => Some(failure.message.as_str()),
            _ => None,
        };
        json!({
            "id": self.id, "kind": self.kind, "state": self.state(), "step": self.step, "progress": self.progress,
            "started": shown(self.started), "updated": shown(self.updated), "ended": self.ended.map(shown),
            "reason": reason,
        })
    }

    /// All that an operator is shown, its log among it.
    pub fn details(&self) -> Value {
        let mut details = self.summary();
        if let Value::Object(entries) = &mut details {
            entries.insert("about".to_owned(), self.about.clone());
            entries.insert("command_id".to_owned(), self.command_id.as_str().into());
            entries.insert("request_id".to_owned(), self.giver.request_id.clone().into());
            entries.insert("user".to_owned(), self.giver.user.clone().into());
            entries.insert("project".to_owned(), self.giver.project.clone().into());
            entries.insert("resumed".to_owned(), self.resumed.into());
            entries.insert("told".to_owned(), self.is_told.into());
            let line = |line: &Line| json!({"at": shown(line.at), "text": line.text});
            entries.insert("log".to_owned(), self.log.iter().map(line).collect());
        }
        details
    }
}

/// A time as people read it: `2026-11-29T22:10:00Z`.
fn shown(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
