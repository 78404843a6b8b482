//! The client of `trove-couchdb-hostd`, the small helper with root's rights.
//!
//! Each request uses its own connection: the helper exits when it has no connection, and systemd starts it
//! for the next one. The helper checks each request against root's `host.toml`. This module only sends the
//! request and explains what is missing if there is no helper.

mod failure;

use std::{io, path::PathBuf, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, time};
use tokio_util::{bytes::Bytes, codec::LengthDelimitedCodec};
use trove_couchdb_protocol::{
    host::{
        Answer, Lines, LogTail, MAX_FRAME, Outcome, Request, RequestId, ServiceName, ServiceReport, Verb,
        VolumeReport, Within,
    },
    new_id,
};

pub use failure::HostFailure;
use trove_couchdb_config::HostSettings;

/// How much longer than the helper's own deadline the client waits. The helper may have to start first, and
/// reads the state once more after the deadline.
const MARGIN: Duration = Duration::from_secs(8);

/// The same for a verb whose own limit `host.toml` sets, to a day at most.
const LONGEST: Duration = Duration::from_secs(86_400 + 60);

/// The helper on this machine.
#[derive(Debug, Clone)]
pub struct Host {
    socket: Option<PathBuf>,
    timeout: Duration,
}

impl Host {
    /// The helper at the configured socket.
    pub fn new(settings: &HostSettings) -> Self {
        Self { socket: settings.socket.clone(), timeout: settings.timeout }
    }

    /// Why there is no helper; `None` if its socket seems to exist.
    pub fn absence(&self) -> Option<HostFailure> {
        let Some(path) = &self.socket else { return Some(HostFailure::Off) };
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some(HostFailure::NotInstalled { path: path.clone() })
            }
            _ => None,
        }
    }

    /// Sends a verb of CouchDB's service and waits for its outcome. `id` is the command's; the helper's audit
    /// log contains it, too.
    pub async fn ask(
        &self,
        id: &str,
        verb: Verb,
        service: Option<ServiceName>,
        within: Option<Within>,
    ) -> Result<ServiceReport, HostFailure> {
        self.request(id, verb, service, within).await
    }

    /// The last lines of CouchDB's log. They are not redacted.
    pub async fn log_tail(&self, id: &str, lines: Lines) -> Result<LogTail, HostFailure> {
        self.request(id, Verb::LogTail(lines), None, None).await
    }

    /// Sends a verb of CouchDB's volume and waits for its outcome.
    pub async fn volume(&self, id: &str, verb: Verb) -> Result<VolumeReport, HostFailure> {
        self.request(id, verb, None, None).await
    }

    /// `R` is the type of the verb's report.
    async fn request<R: DeserializeOwned>(
        &self,
        id: &str,
        verb: Verb,
        service: Option<ServiceName>,
        within: Option<Within>,
    ) -> Result<R, HostFailure> {
        let Some(path) = &self.socket else { return Err(HostFailure::Off) };
        let longest = Within::at_most(self.timeout);
        let within = within.map_or(longest, |within| within.min(longest));
        let limit = if verb.is_long() { LONGEST } else { within.duration() + MARGIN };
        let request = Request { id: request_id(id), verb, service, within: Some(within) };
        match time::timeout(limit, exchange(path, &request)).await {
            Ok(answer) => match answer?.outcome {
                Outcome::Done(report) => Ok(report),
                Outcome::Failed(error) => Err(HostFailure::Refused(error)),
            },
            Err(_elapsed) => Err(HostFailure::Silent { seconds: limit.as_secs() }),
        }
    }
}

async fn exchange<R: DeserializeOwned>(
    path: &std::path::Path,
    request: &Request,
) -> Result<Answer<R>, HostFailure> {
    let stream = UnixStream::connect(path).await.map_err(|error| HostFailure::of_connect(path, &error))?;
    let mut frames = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_framed(stream);
    let text = serde_json::to_vec(request)
        .map_err(|error| HostFailure::Undecodable { reason: error.to_string() })?;
    // A helper that refuses this account answers before it reads and may hang up,
    // so a failed send still has an answer.
    let sent = frames.send(Bytes::from(text)).await;
    match frames.next().await {
        Some(Ok(answer)) => serde_json::from_slice(&answer)
            .map_err(|error| HostFailure::Undecodable { reason: error.to_string() }),
        Some(Err(error)) => Err(HostFailure::BrokenOff { reason: error.to_string() }),
        None => {
            let reason = sent.err().map_or_else(|| "it hung up".to_owned(), |error| error.to_string());
            Err(HostFailure::BrokenOff { reason })
        }
    }
}

/// The helper's id for a request. A caller's id may be any text, so an invalid id is replaced.
fn request_id(id: &str) -> RequestId {
    let given = RequestId::try_from(id.to_owned()).or_else(|_| RequestId::try_from(new_id()));
    given.unwrap_or_else(|_| RequestId::unnamed())
}

#[cfg(test)]
mod tests;
