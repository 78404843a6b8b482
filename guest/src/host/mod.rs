//! The client of `trove-couchdb-hostd`, the small program that does with root's rights what this one may not.
//!
//! A connection for each request: the helper exits when it has no connection, and systemd starts it for the next connection.
//! Nothing is decided here. The helper checks each request against root's own `host.toml`; this module only carries it there,
//! and says what is missing when there is no helper.

mod failure;

use std::{io, path::PathBuf, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{net::UnixStream, time};
use tokio_util::{bytes::Bytes, codec::LengthDelimitedCodec};
use trove_couchdb_protocol::{
    host::{Answer, MAX_FRAME, Outcome, Report, Request, RequestId, ServiceName, Verb, Within},
    new_id,
};

pub use failure::HostFailure;
use trove_couchdb_config::HostSettings;

/// How much longer than the helper's own deadline its answer is waited for: it may have to be started first, and takes a
/// last look when the deadline has passed.
const MARGIN: Duration = Duration::from_secs(8);

/// The helper of this machine.
#[derive(Debug, Clone)]
pub struct Host {
    socket: Option<PathBuf>,
    timeout: Duration,
}

impl Host {
    /// The one that the configuration names.
    pub fn new(settings: &HostSettings) -> Self {
        Self { socket: settings.socket.clone(), timeout: settings.timeout }
    }

    /// Why there is no helper; `None` if there seems to be one.
    pub fn absence(&self) -> Option<HostFailure> {
        let Some(path) = &self.socket else { return Some(HostFailure::Off) };
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some(HostFailure::NotInstalled { path: path.clone() })
            }
            _ => None,
        }
    }

    /// Asks for one thing and waits for its end. `id` is the command's; the helper's audit log has it too.
    pub async fn ask(
        &self,
        id: &str,
        verb: Verb,
        service: Option<ServiceName>,
        within: Option<Within>,
    ) -> Result<Report, HostFailure> {
        let Some(path) = &self.socket else { return Err(HostFailure::Off) };
        let longest = Within::at_most(self.timeout);
        let within = within.map_or(longest, |within| within.min(longest));
        let request = Request { id: request_id(id), verb, service, within: Some(within) };
        let patience = within.duration() + MARGIN;
        match time::timeout(patience, exchange(path, &request)).await {
            Ok(answer) => match answer?.outcome {
                Outcome::Done(report) => Ok(report),
                Outcome::Failed(error) => Err(HostFailure::Refused(error)),
            },
            Err(_elapsed) => Err(HostFailure::Silent { seconds: patience.as_secs() }),
        }
    }
}

async fn exchange(path: &std::path::Path, request: &Request) -> Result<Answer, HostFailure> {
    let stream = UnixStream::connect(path).await.map_err(|error| HostFailure::of_connect(path, &error))?;
    let mut frames = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_framed(stream);
    let text = serde_json::to_vec(request)
        .map_err(|error| HostFailure::Undecodable { reason: error.to_string() })?;
    // One that refuses a stranger answers before it has read anything, and may have hung up: its answer counts.
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

/// A caller may have given its request any id.
fn request_id(id: &str) -> RequestId {
    let given = RequestId::try_from(id.to_owned()).or_else(|_| RequestId::try_from(new_id()));
    given.unwrap_or_else(|_| RequestId::unnamed())
}

#[cfg(test)]
mod tests;
