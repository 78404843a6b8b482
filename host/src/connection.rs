//! One connection: frames in, one answer to each, one audit line to each.
//!
//! A request that has begun is finished, whether or not anybody still waits for its answer: a restart that is given up
//! half-way would leave CouchDB down.

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
use trove_couchdb_protocol::host::{Answer, HostError, MAX_FRAME, Report, Request};

use crate::{
    audit::{Audit, Peer},
    policy::Policy,
    service::Services,
};

/// How long a process that has connected may say nothing: it would keep a place, and the program from its idle exit.
const SILENCE: Duration = Duration::from_secs(30);

/// How long it may take to read an answer.
const WRITE: Duration = Duration::from_secs(10);

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// Root's file.
    pub policy: PathBuf,
    /// What is carried out.
    pub services: Services,
    /// Who asked for what.
    pub audit: Audit,
    /// Requests that have begun.
    pub begun: TaskTracker,
    /// The program is stopping.
    pub stopping: CancellationToken,
}

type Frames = Framed<UnixStream, LengthDelimitedCodec>;

/// Frames on a stream, no longer than either side accepts.
fn frames(stream: UnixStream) -> Frames {
    LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_framed(stream)
}

/// Serves a process that may ask, until it hangs up or can't be understood.
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
            // What follows has no known beginning.
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
            let outcome = carry_out(&worker.policy, &worker.services, &request).await;
            worker.audit.write(peer, Some(&request), &outcome, began.elapsed());
            outcome
        };
        // A panic is the only reason for it to have no outcome.
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

/// Answers a process that may not ask, or is not understood, and hangs up.
pub async fn refuse_stream(stream: UnixStream, peer: Peer, audit: &Audit, error: HostError) {
    refuse(frames(stream), peer, audit, error).await;
}

async fn refuse(mut frames: Frames, peer: Peer, audit: &Audit, error: HostError) {
    let outcome = Err(error);
    audit.write(peer, None, &outcome, Duration::ZERO);
    send(&mut frames, &Answer { id: None, outcome: outcome.into() }).await;
}

async fn carry_out(policy: &Path, services: &Services, request: &Request) -> Result<Report, HostError> {
    let policy = Policy::load(policy)?;
    let service = policy.permits(request.verb, request.service.as_ref())?;
    services.perform(service, request.verb, request.within).await
}

/// Whether the answer was taken.
async fn send(frames: &mut Frames, answer: &Answer) -> bool {
    let Ok(text) = serde_json::to_vec(answer) else { return false };
    matches!(time::timeout(WRITE, frames.send(Bytes::from(text))).await, Ok(Ok(())))
}

fn malformed(reason: String) -> HostError {
    HostError::Malformed { reason }
}

/// serde repeats what it was given.
fn one_line(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(300).collect()
}
