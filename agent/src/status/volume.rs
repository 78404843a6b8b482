//! Names a missing volume as the cause when CouchDB is down.

use std::time::{Duration, Instant};

use trove_couchdb_protocol::host::{HostError, Verb};

use crate::{
    couch::Health,
    host::{Host, HostFailure},
};

/// How often the helper is asked while CouchDB is down.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// The id of the request in the helper's audit log.
const ID: &str = "health";

/// What is known of the volume of CouchDB's data.
#[derive(Debug)]
pub(super) struct VolumeCheck {
    host: Host,
    asked: Option<Instant>,
    problem: Option<String>,
    /// host.toml has no volume: asking again would only fill the helper's audit log.
    is_refused: bool,
}

impl VolumeCheck {
    pub(super) fn new(host: Host) -> Self {
        Self { host, asked: None, problem: None, is_refused: false }
    }

    /// The health with the state of the volume, if CouchDB is down without it.
    pub(super) async fn explain(&mut self, health: Health) -> Health {
        let Health::Down(reason) = health else {
            (self.asked, self.problem) = (None, None);
            return health;
        };
        let is_due = self.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY);
        if is_due && !self.is_refused && self.host.absence().is_none() {
            self.asked = Some(Instant::now());
            // A helper that does not allow it, or fails, leaves the reason as it is.
            let asked = self.host.volume(ID, Verb::VolumeStatus).await;
            self.is_refused = matches!(asked, Err(HostFailure::Refused(HostError::NotAllowed { .. })));
            self.problem = asked.ok().and_then(|report| report.problem);
        }
        Health::Down(match &self.problem {
            Some(problem) => format!("CouchDB's volume is missing: {problem} ({reason})"),
            None => reason,
        })
    }
}
