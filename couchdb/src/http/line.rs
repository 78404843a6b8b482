//! What the heads of answers reveal: CouchDB's version, that it is alive, and how long to pause.
//!
//! All clones of a `client` share this state, and only `client` writes it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER, SERVER},
};
use tokio::time::Instant;

use crate::reply::{error::CouchError, version::ServerVersion};

/// The state of the server according to the heads of its answers.
#[derive(Debug, Default)]
pub(crate) struct Line(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    version: Option<ServerVersion>,
    /// When the first request since the last answer was sent.
    unanswered_since: Option<Instant>,
    not_before: Option<Instant>,
}

impl Line {
    /// Stores what an answer's head reveals.
    pub(crate) fn note(&self, status: StatusCode, headers: &HeaderMap) {
        let mut known = self.lock();
        // A proxy may add its own `Server` line or replace CouchDB's.
        let mut servers = headers.get_all(SERVER).iter().filter_map(|value| value.to_str().ok());
        if let Some(version) = servers.find_map(ServerVersion::from_header) {
            known.version = Some(version);
        }
        known.unanswered_since = None;
        if let Some(pause) = pause(status, headers) {
            known.not_before = Instant::now().checked_add(pause);
        }
    }

    /// The version in the last `Server` header of CouchDB's own.
    pub(crate) fn version(&self) -> Option<ServerVersion> {
        self.lock().version
    }

    /// How long requests have been sent without an answer.
    pub(crate) fn silent_for(&self) -> Duration {
        self.lock().unanswered_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Notes that a request is sent now. Refuses it during a pause that an answer demanded.
    pub(crate) fn may_send(&self, origin: &str, now: Instant) -> Result<(), CouchError> {
        let mut known = self.lock();
        match known.not_before.map(|time| time.saturating_duration_since(now)).filter(|left| !left.is_zero())
        {
            None => {
                known.unanswered_since.get_or_insert(now);
                Ok(())
            }
            left => Err(CouchError::TooManyRequests { origin: origin.to_owned(), retry_after: left }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `Retry-After` in seconds (RFC 9110, 10.2.3), in answers that define it. The date form is ignored: no known
/// rate limiter for CouchDB sends it.
fn pause(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let asks = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let value = headers.get(RETRY_AFTER).filter(|_| asks)?;
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let _there_already: bool = headers.append::<reqwest::header::HeaderName>(name, value);
        }
        headers
    }

    #[test]
    fn the_server_header_of_couchdb_counts_and_no_other() {
        let line = Line::default();
        line.note(StatusCode::OK, &headers(&[("server", "nginx")]));
        assert_eq!(line.version(), None);
        line.note(
            StatusCode::OK,
            &headers(&[("server", "BaseHTTP/0.6"), ("server", "CouchDB/3.3.3 (Erlang OTP/25)")]),
        );
        assert_eq!(line.version(), Some(ServerVersion { major: 3, minor: 3 }));
        line.note(StatusCode::NOT_FOUND, &headers(&[("server", "CouchDB/3.5.2 (Erlang OTP/25)")]));
        assert_eq!(line.version(), Some(ServerVersion { major: 3, minor: 5 }));
        line.note(StatusCode::OK, &headers(&[]));
        assert_eq!(line.version(), Some(ServerVersion { major: 3, minor: 5 }), "a proxy removes it");
    }

    #[test]
    fn silence_is_counted_from_the_first_request_that_was_not_answered() {
        let line = Line::default();
        assert_eq!(line.silent_for(), Duration::ZERO, "nothing was asked");
        let Some(before) = Instant::now().checked_sub(Duration::from_secs(100)) else { return };
        line.may_send("h", before).unwrap();
        line.may_send("h", Instant::now()).unwrap();
        assert!(line.silent_for() >= Duration::from_secs(100));
        line.note(StatusCode::OK, &headers(&[]));
        assert_eq!(line.silent_for(), Duration::ZERO);
    }

    #[test]
    fn a_pause_is_kept_and_ends() {
        let line = Line::default();
        let now = Instant::now();
        let dated = [("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")];
        line.note(StatusCode::OK, &headers(&[("retry-after", "500")]));
        line.note(StatusCode::TOO_MANY_REQUESTS, &headers(&dated));
        assert!(line.may_send("h", now).is_ok(), "it belongs to other statuses, or is no number");
        line.note(StatusCode::TOO_MANY_REQUESTS, &headers(&[("retry-after", "500")]));
        let refused = line.may_send("h", now);
        assert!(
            matches!(refused, Err(CouchError::TooManyRequests { retry_after: Some(_), .. })),
            "{refused:?}"
        );
        assert!(line.may_send("h", now + Duration::from_secs(1_000)).is_ok());
    }
}
