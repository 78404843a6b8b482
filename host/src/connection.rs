//! One connection: one answer and one audit line for each frame.
//!
//! A request that has begun is finished even if the client disconnects: an interrupted restart would leave
//! CouchDB down.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use tokio::{net::UnixStream, time};
use tokio_util::{
    bytes::Bytes,
    codec::{Framed, LengthDelimitedCodec},
    sync::CancellationToken,
    task::TaskTracker,
};
use trove_couchdb_protocol::host::{Answer, Done, HostError, MAX_FRAME, Request, Section, Verb};

use crate::{
    audit::{Audit, Peer},
    changes::Changes,
    log_tail,
    policy::Policy,
    service, volume,
};

/// The time limit for a silent client, which would block a connection slot and the idle exit.
const SILENCE: Duration = Duration::from_secs(30);

/// The time limit for sending an answer.
const WRITE: Duration = Duration::from_secs(10);

/// The state that all connections share.
#[derive(Debug)]
pub struct Shared {
    /// The path of the policy file.
    pub policy: PathBuf,
    /// The right to change something.
    pub changes: Changes,
    /// The audit log.
    pub audit: Audit,
    /// The running requests.
    pub begun: TaskTracker,
    /// Cancelled when the program stops.
    pub stopping: CancellationToken,
}

type Frames = Framed<UnixStream, LengthDelimitedCodec>;

/// Frames on a stream, limited to the length that both sides accept.
fn frames(stream: UnixStream) -> Frames {
    LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_framed(stream)
}

/// Serves an authorised process until it disconnects or sends a malformed request.
pub async fn serve(stream: UnixStream, peer: Peer, shared: Arc<Shared>) {
    let mut frames = frames(stream);
    loop {
        let next = tokio::select! {
            biased;
            () = shared.stopping.cancelled() => return,
            next = time::timeout(SILENCE, frames.next()) => next,
        };
        let began = Instant::now();
        let Ok(Some(frame)) = next else { return };
        let request = match frame {
            Ok(frame) => serde_json::from_slice::<Request>(&frame).map_err(|error| error.to_string()),
            // The start of the next frame is unknown.
            Err(error) => {
                return refuse(frames, peer, &shared.audit, malformed(format!("{error}"))).await;
            }
        };
        let request = match request {
            Ok(request) => request,
            Err(reason) => {
                return refuse(frames, peer, &shared.audit, malformed(one_line(&reason))).await;
            }
        };
        let id = request.id.clone();
        let worker = Arc::clone(&shared);
        let run = async move {
            let outcome = carry_out(&worker.policy, &worker.changes, &request).await;
            worker.audit.write(peer, Some(&request), &outcome, began.elapsed());
            outcome
        };
        // The only cause for a missing outcome is a panic.
        let outcome = shared.begun.spawn(run).await.unwrap_or_else(|_panic| {
            Err(HostError::Backend {
                backend: "hostd".to_owned(),
                reason: "a defect; see its log".to_owned(),
            })
        });
        if !send(&mut frames, &Answer { id: Some(id), outcome: outcome.into() }).await {
            return;
        }
    }
}

/// Answers a process that is not authorised or can't be served, and disconnects.
pub async fn refuse_stream(stream: UnixStream, peer: Peer, audit: &Audit, error: HostError) {
    refuse(frames(stream), peer, audit, error).await;
}

async fn refuse(mut frames: Frames, peer: Peer, audit: &Audit, error: HostError) {
    let outcome = Err(error);
    audit.write(peer, None, &outcome, Duration::ZERO);
    send(&mut frames, &Answer { id: None, outcome: outcome.into() }).await;
}

async fn carry_out(file: &Path, changes: &Changes, request: &Request) -> Result<Done, HostError> {
    let policy = Policy::load(file)?;
    policy.permits(&request.verb, request.service.as_ref())?;
    match request.verb.section() {
        Section::Service => {
            if matches!(request.verb, Verb::ServiceStart | Verb::ServiceRestart) {
                volume::must_be_mounted(&policy, file).await?;
            }
            let report = service::perform(&policy.service, &request.verb, request.within, changes).await;
            report.map(Done::Service)
        }
        Section::CouchDb => log_tail::perform(&policy, &request.verb).await.map(Done::Log),
        Section::Volume => volume::perform(&policy, file, &request.verb, changes).await.map(Done::Volume),
    }
}

/// Returns whether the client accepted the answer.
async fn send(frames: &mut Frames, answer: &Answer<Done>) -> bool {
    let Ok(text) = serde_json::to_vec(answer) else { return false };
    matches!(time::timeout(WRITE, frames.send(Bytes::from(text))).await, Ok(Ok(())))
}

fn malformed(reason: String) -> HostError {
    HostError::Malformed { reason }
}

/// serde's message repeats the input.
fn one_line(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(300).collect()
}
