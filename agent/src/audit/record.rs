//! One line of the audit log.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};
use trove_couchdb_protocol::Failure;

/// The longest text that a line copies from a message, in characters.
const LONGEST: usize = 256;

/// The longest reason for a failure, in characters.
const LONGEST_REASON: usize = 1000;

/// What happened. Consists of names and failures only; see [`crate::audit`].
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// `req-…`, under which Trove logs the same action.
    pub request_id: Option<String>,
    /// The message's `_unique_id`.
    pub id: Option<String>,
    /// How the command arrived.
    pub source: Source,
    /// The user of the request's context.
    pub user: Option<String>,
    /// The user's project.
    pub project: Option<String>,
    /// A method of the guest API.
    pub method: &'static str,
    /// What the command changes.
    pub target: Target,
    /// How it ended.
    pub verdict: AuditOutcome,
    /// Time from its arrival to its end.
    pub duration: Duration,
}

/// How a command arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Source {
    /// Over RabbitMQ.
    #[serde(rename = "bus")]
    Broker,
    /// Over the local socket, from a process that the kernel has identified.
    Local {
        /// Effective user id.
        uid: u32,
        /// Effective group id.
        gid: u32,
        /// Process id at the time it connected.
        pid: Option<i32>,
    },
}

/// Names of the users and databases that a command changes; `*` means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Users, including server administrators.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Databases.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<String>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq)]
pub enum AuditOutcome {
    /// It succeeded.
    Ok,
    /// It began and failed. Some of its effects may remain.
    Failed(Failure),
    /// It was not begun.
    Refused(Failure),
}

/// A record as it is written, with the fields in this order.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    request_id: Option<String>,
    id: Option<String>,
    source: Source,
    user: Option<String>,
    project: Option<String>,
    method: &'static str,
    target: &'a Target,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    duration_ms: u64,
}

impl Record {
    /// The line, without a line feed. Its time is now, in the format of the log.
    pub(super) fn to_line(&self) -> String {
        let (outcome, failure) = match &self.verdict {
            AuditOutcome::Ok => ("ok", None),
            AuditOutcome::Failed(failure) => ("failed", Some(failure)),
            AuditOutcome::Refused(failure) => ("refused", Some(failure)),
        };
        let short = |text: &Option<String>| text.as_deref().map(|text| cut(text, LONGEST));
        let line = Line {
            time: now(),
            request_id: short(&self.request_id),
            id: short(&self.id),
            source: self.source,
            user: short(&self.user),
            project: short(&self.project),
            method: self.method,
            target: &self.target,
            outcome,
            class: failure.map(|failure| failure.class.as_str()),
            message: failure.map(|failure| cut(&failure.message, LONGEST_REASON)),
            duration_ms: u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
        };
        // Strings and numbers under fixed keys cannot fail.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// RFC 3339, UTC.
fn now() -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _written = SystemTime.format_time(&mut Writer::new(&mut text)).is_ok();
    text
}

fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "…",
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use trove_couchdb_protocol::FailureClass;

    use super::*;

    fn record() -> Record {
        Record {
            request_id: Some("req-1".into()),
            id: Some("u".into()),
            source: Source::Local { uid: 0, gid: 4, pid: Some(7) },
            user: Some("root".into()),
            project: None,
            method: "grant_access",
            target: Target { users: vec!["al".into()], databases: vec!["a".into(), "b".into()] },
            verdict: AuditOutcome::Ok,
            duration: Duration::from_millis(12),
        }
    }

    fn read(record: &Record) -> Value {
        serde_json::from_str(&record.to_line()).unwrap()
    }

    #[test]
    fn a_line_has_every_key() {
        let mut line = read(&record());
        let time = line.as_object_mut().unwrap().remove("time").unwrap();
        let time = time.as_str().unwrap();
        assert!(time.len() >= 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
        assert_eq!(
            line,
            json!({
                "request_id": "req-1", "id": "u", "source": {"kind": "local", "uid": 0, "gid": 4, "pid": 7},
                "user": "root", "project": null, "method": "grant_access",
                "target": {"users": ["al"], "databases": ["a", "b"]}, "outcome": "ok", "duration_ms": 12,
            })
        );
    }

    #[test]
    fn a_failure_has_its_class_and_its_reason() {
        let failed = Record {
            verdict: AuditOutcome::Failed(Failure::new(FailureClass::UserRejected, "why")),
            source: Source::Broker,
            ..record()
        };
        let line = read(&failed);
        assert_eq!(line["source"], json!({"kind": "bus"}));
        assert_eq!(
            (&line["outcome"], &line["class"], &line["message"]),
            (&json!("failed"), &json!("UserRejected"), &json!("why"))
        );
        let refused =
            Record { verdict: AuditOutcome::Refused(Failure::new(FailureClass::Busy, "no")), ..record() };
        assert_eq!(read(&refused)["outcome"], "refused");
    }

    #[test]
    fn text_of_any_sender_stays_one_short_line() {
        let user = "a\n{\"time\": 1}\u{1b}[31m".to_owned() + &"ü".repeat(5000);
        let line = Record { user: Some(user), ..record() }.to_line();
        assert!(!line.contains(char::is_control) && line.len() < 2000, "{line}");
    }
}
