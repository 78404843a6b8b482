//! The audit log: one JSON line on standard output for each request and each refused process.
//!
//! Under systemd standard output is the journal: `journalctl -u trove-couchdb-hostd -o cat`. The lines
//! contain no secrets, and all external text is validated by a newtype or cut to one line.

use std::{
    fmt,
    io::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tokio::net::unix::UCred;
use trove_couchdb_protocol::host::{Done, HostError, Request, ServiceName};

/// The process at the other end of the socket, according to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// The user id.
    pub uid: u32,
    /// The primary group id.
    pub gid: u32,
    /// The process id at the time of the connection.
    pub pid: Option<i32>,
}

impl From<UCred> for Peer {
    fn from(credentials: UCred) -> Self {
        Self { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() }
    }
}

/// Writes the audit lines.
pub struct Audit(Mutex<Box<dyn Write + Send>>);

impl fmt::Debug for Audit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Audit")
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    peer: Peer,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verb: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    /// `done`, or the kind of the error.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    duration_ms: u64,
}

impl Audit {
    /// Writes the lines to `output`.
    pub fn new(output: impl Write + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(output)))
    }

    /// Writes one request and its outcome. Without a request, a process that was refused or sent a malformed
    /// request.
    pub fn write(
        &self,
        peer: Peer,
        request: Option<&Request>,
        outcome: &Result<Done, HostError>,
        took: Duration,
    ) {
        let done = outcome.as_ref().ok();
        let failed = outcome.as_ref().err();
        let asked = request.and_then(|request| request.service.as_ref());
        let reported = match done {
            Some(Done::Service(report)) => Some(&report.service),
            _ => None,
        };
        let line = Line {
            time: rfc_3339(SystemTime::now()),
            peer,
            id: request.map(|request| request.id.as_str()),
            verb: request.map(|request| request.verb.name()),
            service: asked.or(reported).map(ServiceName::as_str),
            outcome: failed.map_or("done", HostError::kind),
            changed: done.map(Done::changed),
            state: done.and_then(Done::state),
            reason: failed.map(ToString::to_string),
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
            eprintln!("trove-couchdb-hostd: an audit line is lost ({error}): {text}");
        }
    }
}

/// In UTC, to the millisecond.
fn rfc_3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second, milli) = (second / 3600, second / 60 % 60, second % 60, since.subsec_millis());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The date that is `days` after 1970-01-01. Years begin in March, so that the leap day is the last day.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{io, sync::Arc};

    use serde_json::{Value, json};
    use trove_couchdb_protocol::host::{RequestId, Verb};

    use super::*;

    /// An output that a test can read.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(crate) fn lines(&self) -> Vec<Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn dates_as_the_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_796_036_645, "2026-11-30T11:04:05.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc_3339(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
        assert_eq!(rfc_3339(UNIX_EPOCH + Duration::from_millis(7)), "1970-01-01T00:00:00.007Z");
    }

    #[test]
    fn a_line_says_who_what_and_the_outcome() {
        let written = Written::default();
        let peer = Peer { uid: 7, gid: 8, pid: Some(9) };
        let id = RequestId::try_from("a1".to_owned()).unwrap();
        let request = Request { id, verb: Verb::ServiceStop, service: None, within: None };
        let error = HostError::Malformed { reason: "a\nb".to_owned() };
        Audit::new(written.clone()).write(peer, Some(&request), &Err(error), Duration::from_millis(3));
        let [line] = written.lines().try_into().unwrap();
        let expected = json!({
            "time": line["time"], "peer": {"uid": 7, "gid": 8, "pid": 9}, "id": "a1", "verb": "service-stop",
            "outcome": "malformed", "reason": "trove-couchdb-hostd can't read the request: a\nb", "duration_ms": 3,
        });
        assert_eq!(line, expected);
    }
}
